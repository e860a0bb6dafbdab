"""How far a metric agrees with itself: the order of architectures by two halves of the held-out data."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

MIN_ARCHITECTURES = 3


@dataclass(frozen=True)
class HalvesAgreement:
    """How two halves of the held-out data rank architectures.

    Args:
        tau: Kendall's tau-b: 1 for equal orders, -1 for reversed ones, about 0 where the order is noise.
        architectures: How many were ranked.
        parts: Parts of the data behind each score; a half is every other part.
    """

    tau: float
    architectures: int
    parts: int

    def sentence(self) -> str:
        """To read, without the stop at the end."""
        return (
            f"two halves of the held-out probes, {self.parts} parts in all, rank {self.architectures} architectures "
            f"at a Kendall tau of {self.tau:.2f}"
        )


def halves_agreement(parts: Sequence[Sequence[float]]) -> HalvesAgreement | None:
    """Compare the order by the even parts with that by the odd ones.

    Args:
        parts: Of each architecture, its scores on parts of the held-out data. One with fewer than two parts is left
            out, as is one with another number of parts than most: it was not scored on the same data.

    Returns:
        The agreement; `None` for fewer than three architectures, or where one half tells none of them apart.
    """
    counts = Counter(len(each) for each in parts if len(each) > 1)
    if not counts:
        return None
    ((count, architectures),) = counts.most_common(1)
    if architectures < MIN_ARCHITECTURES:
        return None
    rows = np.array([each for each in parts if len(each) == count], dtype=np.float64)
    tau = float(kendalltau(rows[:, ::2].mean(axis=1), rows[:, 1::2].mean(axis=1)).statistic)
    return None if math.isnan(tau) else HalvesAgreement(tau, architectures, count)
