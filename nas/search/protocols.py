"""What a search needs to know of a space, of latency and of cost.

`nas.space.SearchSpace`, `nas.latency.LatencyPredictor` and `nas.models.NetworkCost` have these shapes. So may
anything else: a search over choices that have nothing to do with video needs only these few methods.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from nas.space import Architecture


class Choice(Protocol):
    """One slot: a name, and what may be chosen there."""

    @property
    def id(self) -> str:
        """Name of the slot, unique in its space."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """What may be chosen."""


class Space(Protocol):
    """A finite set of architectures, one choice per slot."""

    @property
    def name(self) -> str:
        """The space's name."""

    @property
    def fingerprint(self) -> str:
        """Digest of the content; a study is continued only with an equal one, and with equal slots."""

    @property
    def slots(self) -> Sequence[Choice]:
        """The slots, in a fixed order."""

    def architecture(self, choices: Sequence[str]) -> Architecture:
        """The architecture with these choices, one per slot; equal choices give equal ids."""

    def count(self) -> int:
        """Number of architectures."""

    def smallest(self) -> Architecture:
        """The architecture with the least in it."""

    def sample(self, rng: random.Random) -> Architecture:
        """A random architecture."""

    def mutate(self, architecture: Architecture, rng: random.Random, *, slots: int = 1) -> Architecture:
        """A copy with up to `slots` choices replaced."""

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture once, in a fixed order."""


class LatencyFigure(Protocol):
    """The latency of one architecture, and where the figure comes from."""

    @property
    def pipeline_ms(self) -> float:
        """Milliseconds for one result at batch 1, everything included; what the search minimises."""

    @property
    def unet_ms(self) -> float:
        """Milliseconds of one call of the searched network."""

    @property
    def provenance(self) -> str:
        """`measured`, `estimated` or `published`."""

    @property
    def device(self) -> str:
        """The machine it holds for."""

    @property
    def runtime(self) -> str:
        """How the network is executed there."""


class LatencyModel(Protocol):
    """Knows the latency of every architecture of a space beforehand."""

    def predict(self, architecture: Architecture) -> LatencyFigure:
        """The latency of one architecture; raises where it is unknown, never returns a stand-in."""

    def fastest(self) -> Architecture:
        """The architecture of least `pipeline_ms`."""


class Cost(Protocol):
    """What an architecture costs on any device."""

    @property
    def parameters(self) -> int:
        """Number of weights."""

    @property
    def peak_activation_bytes(self) -> int:
        """Most bytes of values alive at once."""


CostModel = Callable[[Architecture], Cost]
"""From an architecture to its cost, e.g. `lambda a: network_cost(space.lower(a))`."""
