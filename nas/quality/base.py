"""The protocol of a quality metric."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from statistics import fmean
from typing import Literal, Self

from nas.space import Architecture

Direction = Literal["minimize", "maximize"]


class MeanScore(float):
    """A score that remembers what it is the mean of; in all else a number.

    Args:
        parts: Scores on disjoint, equally large parts of the held-out data; as many for each architecture, and each on
            the same data for all.
    """

    parts: tuple[float, ...]

    def __new__(cls, parts: Iterable[float]) -> Self:
        """The mean of the parts; not a number where one of them is not finite."""
        kept = tuple(map(float, parts))
        mean = super().__new__(cls, fmean(kept) if all(map(math.isfinite, kept)) else math.nan)
        mean.parts = kept
        return mean

    def __getnewargs__(self) -> tuple[tuple[float, ...]]:  # type: ignore[override]
        """What a copy is made of, also one for another process."""
        return (self.parts,)


class QualityMetric(ABC):
    """Scores architectures.

    The contract: scoring the same architecture twice gives the same number (common random numbers), and the
    scores of two architectures are comparable, because both saw the same clips, noise and timesteps. A score
    that is not finite means that the architecture failed; it is never replaced by another number.

    A score that is a mean over held-out data may be a `MeanScore`. Then a search tells how far two halves of that data
    agree on the order of architectures.
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
