"""Slots, and the candidates that may fill them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.space.plan import Scalar


@dataclass(frozen=True)
class Slot:
    """A position of the network that may hold one temporal layer.

    Args:
        stage: `down.N`, `mid` or `up.N`.
        position: Position in the stage, counted from 0.
        candidates: Names that may be chosen; `none` among them leaves the slot empty.
    """

    stage: str
    position: int
    candidates: tuple[str, ...]

    @property
    def id(self) -> str:
        """Identifier within the space, e.g. `down.0/1`."""
        return f"{self.stage}/{self.position}"


@dataclass(frozen=True)
class Candidate:
    """A named temporal layer with its hyper-parameters, as `nas.space.implementations.settings_of` gives them."""

    name: str
    kind: str
    config: Mapping[str, Scalar]
