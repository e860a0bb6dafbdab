"""Protocols of a space, of latency and of cost: all that a search calls.

`nas.space.SearchSpace`, `nas.latency.LatencyPredictor` and `nas.models.NetworkCost` implement them. A search of
anything else implements the same few methods.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from nas.space import Architecture


class Choice(Protocol):
    """A slot: its name and its candidates."""

    @property
    def id(self) -> str:
        """Name of the slot, unique in its space."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """What the slot may hold."""


class Space(Protocol):
    """A finite set of architectures, one choice per slot."""

    @property
    def name(self) -> str:
        """The space's name."""

    @property
    def fingerprint(self) -> str:
        """Digest of the content. A study is resumed only with an equal digest and equal slots."""

    @property
    def slots(self) -> Sequence[Choice]:
        """The slots, in a fixed order."""

    def architecture(self, choices: Sequence[str]) -> Architecture:
        """The architecture with these choices, one per slot; equal choices give equal ids."""

    def count(self) -> int:
        """Number of architectures."""

    def smallest(self) -> Architecture:
        """The architecture with the fewest layers."""

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
        """Milliseconds for one result at batch 1, everything included; the search minimises it."""

    @property
    def unet_ms(self) -> float:
        """Milliseconds of one call of the searched network."""

    @property
    def provenance(self) -> str:
        """`measured`, `estimated` or `published`."""

    @property
    def device(self) -> str:
        """The device."""

    @property
    def runtime(self) -> str:
        """How the network is executed there."""


class LatencyModel(Protocol):
    """Predicts the latency of every architecture of a space."""

    def predict(self, architecture: Architecture) -> LatencyFigure:
        """The latency of one architecture; raises if it is unknown, and never returns a default."""

    def fastest(self) -> Architecture:
        """The architecture with the lowest `pipeline_ms`."""


class Cost(Protocol):
    """Costs of an architecture that need no measurement.

    If it has an attribute `memory_bytes`, such as `nas.models.memory.ProgramCost`, a memory budget limits that;
    otherwise it limits `peak_activation_bytes`.
    """

    @property
    def parameters(self) -> int:
        """Number of weights."""

    @property
    def peak_activation_bytes(self) -> int:
        """Largest number of bytes of values that are alive at the same time."""


CostModel = Callable[[Architecture], Cost]
"""Returns the cost of an architecture, e.g. `lambda a: network_cost(space.lower(a))`."""
