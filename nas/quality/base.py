"""The protocol of a quality metric."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from nas.space import Architecture

Direction = Literal["minimize", "maximize"]


class QualityMetric(ABC):
    """Scores architectures.

    The contract: scoring the same architecture twice gives the same number (common random numbers), and the
    scores of two architectures are comparable, because both saw the same clips, noise and timesteps. A score
    that is not finite means that the architecture failed; it is never replaced by another number.

    A metric whose score is a mean over held-out data can say more, by `score_parts`. Then a search tells how far two
    halves of that data agree on the order of architectures. A subclass that changes `score` alone has one part.
    """

    name: str
    direction: Direction
    detail: str = ""
    """How finely it scores, for figures and tables, e.g. `64 batches`; decides nothing."""
    fingerprint: str = ""
    """Digest of the data and weights that scores depend on; with an equal one they can be compared."""

    def __init_subclass__(cls, **options: Any) -> None:
        # Searches ask for the parts. Those of a parent are not those of a score that was changed.
        super().__init_subclass__(**options)
        score, parts = (next(base for base in cls.__mro__ if name in vars(base)) for name in ("score", "score_parts"))
        if cls.__mro__.index(score) < cls.__mro__.index(parts):
            cls.score_parts = QualityMetric.score_parts  # type: ignore[method-assign]

    @abstractmethod
    def score(self, architecture: Architecture) -> float:
        """Return the score of one architecture."""

    def score_parts(self, architecture: Architecture) -> tuple[float, ...]:
        """Scores on disjoint, equally large parts of the held-out data; the score is their mean.

        As many for each architecture, and each on the same data for all. A metric that is no mean has one part, its
        score.
        """
        return (self.score(architecture),)
