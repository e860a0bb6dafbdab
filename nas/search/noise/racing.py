"""Scoring an architecture only until it is clear that another one beats it.

All architectures are scored on the same parts of the held-out data. After the first few, a new architecture is compared
with its rival, the best one so far that is no slower. If the rival is distinguishably better, scoring ends there, since
the new one will not be on the front. Otherwise the number of parts is doubled, up to all of them: a race (Maron and
Moore, "Hoeffding races", 1994) with Student's paired t-test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.quality.base import QualityMetric
from nas.search.noise.differences import difference
from nas.search.scores import Score, score, score_more
from nas.space import Architecture


@dataclass(frozen=True)
class Race:
    """How architectures are scored in a search.

    Args:
        quality: The metric.
        first: Parts that each architecture is scored on; 2 or more.
    """

    quality: QualityMetric
    first: int

    def score(self, architecture: Architecture, rival: Score | None) -> Score:
        """Score an architecture against its rival, or on all parts if there is none.

        An architecture that loses gets the score of the rival plus their mean difference on the parts that it was
        scored on. So it stays behind the rival, and what these parts are worth more or less than others cancels.

        Raises:
            ArithmeticError: The score is not finite.
        """
        most = getattr(self.quality, "part_count", 1)
        if self.first >= most or rival is None or len(rival.parts) < most:
            return score(self.quality, architecture)
        known: tuple[float, ...] = ()
        level = self.first
        while level < most:
            known = score_more(self.quality, architecture, known, level).parts
            if (gap := self._gap(known, rival.parts)) is not None:
                return Score(rival.value + gap, known)
            level *= 2
        return score_more(self.quality, architecture, known, most)

    def _gap(self, parts: Sequence[float], rival: Sequence[float]) -> float | None:
        """By how much the score is behind that of the rival; `None` if it may be noise, or is ahead."""
        gap = difference(parts, rival)
        assert gap is not None  # both have two parts or more
        behind = gap.mean > 0 if self.quality.direction == "minimize" else gap.mean < 0
        return gap.mean if behind and gap.distinguishable else None
