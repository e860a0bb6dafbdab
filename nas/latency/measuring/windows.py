"""Windows: a few rounds in a row, with what each call took and in which order the calls were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

REFERENCE_QUANTILE = 0.25


@dataclass(frozen=True)
class Window:
    """Samples of a few rounds in a row.

    Args:
        reference: Name of the reference.
        reference_ms: Its calls.
        samples_ms: The calls of each name.
        order: Whose turn it was, call by call: 0 for the reference, 1 for the first of `samples_ms`, and so on.
    """

    reference: str
    reference_ms: tuple[float, ...]
    samples_ms: Mapping[str, tuple[float, ...]]
    order: tuple[int, ...]

    @cached_property
    def level_ms(self) -> float:
        """How long the reference took: the lower quartile, high enough that a lucky moment does not hide drift."""
        return float(np.quantile(self.reference_ms, REFERENCE_QUANTILE))

    @cached_property
    def seconds(self) -> float:
        """How long it lasted: its calls filled it."""
        return float(self.sequence_ms.sum()) / 1e3

    @cached_property
    def sequence_ms(self) -> NDArray[np.float64]:
        """All calls in their order."""
        sequence_ms, order = np.empty(len(self.order)), np.asarray(self.order)
        for turn, samples_ms in enumerate((self.reference_ms, *self.samples_ms.values())):
            sequence_ms[order == turn] = samples_ms
        return sequence_ms


def best_levels(windows: Iterable[Window]) -> dict[str, float]:
    """The lowest level of each reference, in milliseconds."""
    best_ms: dict[str, float] = {}
    for each in windows:
        best_ms[each.reference] = min(best_ms.get(each.reference, each.level_ms), each.level_ms)
    return best_ms
