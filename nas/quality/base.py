"""The protocol of a quality metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from nas.space import Architecture

Direction = Literal["minimize", "maximize"]


class QualityMetric(ABC):
    """Scores architectures.

    The contract: scoring the same architecture twice gives the same number (common random numbers), and the
    scores of two architectures are comparable, because both saw the same clips, noise and timesteps. A score
    that is not finite means that the architecture failed; it is never replaced by another number.
    """

    name: str
    direction: Direction
    detail: str = ""
    """How finely it scores, for figures and tables, e.g. `64 batches`; decides nothing."""
    fingerprint: str = ""
    """Digest of the data and weights that scores depend on; with an equal one they can be compared."""

    @abstractmethod
    def score(self, architecture: Architecture) -> float:
        """Return the score of one architecture."""
