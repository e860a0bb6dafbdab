"""How well two halves of the held-out data agree on the order of architectures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_ARCHITECTURES = 3


@dataclass(frozen=True)
class HalvesAgreement:
    """How two halves of the held-out data rank architectures.

    Args:
        tau: Kendall's tau-b: 1 for equal orders, -1 for reversed ones, about 0 if the order is noise.
        architectures: How many were ranked.
        parts: Parts of the data behind each score; a half is every other part.
    """

    tau: float
    architectures: int
    parts: int

    def sentence(self) -> str:
        """The agreement as a sentence, without the full stop."""
        return (
            f"two halves of the held-out probes, {self.parts} parts in all, rank {self.architectures} architectures "
            f"at a Kendall tau of {self.tau:.2f}"
        )


def halves_agreement(parts: Sequence[Sequence[float]]) -> HalvesAgreement | None:
    """Compare the order by the even parts with that by the odd ones.

    Args:
        parts: For each architecture, its scores on parts of the held-out data. All are ranked by the first parts, which
            all of them have. Architectures with fewer than two parts are left out.

    Returns:
        The agreement; `None` for fewer than three architectures, or if one half gives all of them the same score.
    """
    known = [scores for scores in parts if len(scores) > 1]
    if len(known) < MIN_ARCHITECTURES:
        return None
    count = min(map(len, known))
    rows = np.array([scores[:count] for scores in known], dtype=np.float64)
    tau = _kendall_tau(rows[:, ::2].mean(axis=1), rows[:, 1::2].mean(axis=1))
    return None if math.isnan(tau) else HalvesAgreement(tau, len(known), count)


def _kendall_tau(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Kendall's tau-b, NaN if one side is all ties; importing that of scipy takes half a second."""
    agreeing = untied_first = untied_second = 0
    for place in range(len(first) - 1):
        order_first, order_second = _order(first, place), _order(second, place)
        agreeing += int(order_first @ order_second)
        untied_first += int(np.count_nonzero(order_first))
        untied_second += int(np.count_nonzero(order_second))
    if not (untied_first and untied_second):
        return math.nan
    return max(-1.0, min(1.0, agreeing / math.sqrt(untied_first) / math.sqrt(untied_second)))


def _order(values: NDArray[np.float64], place: int) -> NDArray[np.int64]:
    """For each later value, whether it is above (1), equal to (0) or below (-1) the value at a place."""
    later = values[place + 1 :]
    order: NDArray[np.int64] = (later > values[place]).astype(np.int64) - (later < values[place])
    return order
