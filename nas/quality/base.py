"""The protocol of a quality metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from nas.space import Architecture

Direction = Literal["minimize", "maximize"]


class QualityMetric(ABC):
    """Scores architectures.

    The contract: scoring the same architecture twice gives the same number (common random numbers), and the
    scores of two architectures are comparable, because both saw the same clips, noise and timesteps. A score
    that is not finite means that the architecture failed; it is never replaced by another number.
    """

    name: ClassVar[str]
    direction: ClassVar[Direction]

    @abstractmethod
    def score(self, architecture: Architecture) -> float:
        """Return the score of one architecture."""
