"""Windows: the calls of a few rounds in a row, with their durations and their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

REFERENCE_QUANTILE = 0.25


@dataclass(frozen=True)
class Window:
    """The samples of a few rounds in a row.

    Args:
        reference: Name of the reference.
        reference_ms: Its calls.
        samples_ms: The calls of each name.
        order: What was called, call by call: 0 is the reference, 1 the first name of `samples_ms`, and so on.
    """

    reference: str
    reference_ms: tuple[float, ...]
    samples_ms: Mapping[str, tuple[float, ...]]
    order: tuple[int, ...]

    @cached_property
    def level_ms(self) -> float:
        """The lower quartile of the reference: low, but not so low that one lucky call hides drift."""
        return float(np.quantile(self.reference_ms, REFERENCE_QUANTILE))

    @cached_property
    def seconds(self) -> float:
        """How long the window lasted: the sum of its calls."""
        return float(self.sequence_ms.sum()) / 1e3

    @cached_property
    def sequence_ms(self) -> NDArray[np.float64]:
        """The durations of all calls, in their order."""
        sequence_ms, order = np.empty(len(self.order)), np.asarray(self.order)
        for number, samples_ms in enumerate((self.reference_ms, *self.samples_ms.values())):
            sequence_ms[order == number] = samples_ms
        return sequence_ms


def best_levels(windows: Iterable[Window]) -> dict[str, float]:
    """The lowest level of each reference, in milliseconds."""
    best_ms: dict[str, float] = {}
    for window in windows:
        best_ms[window.reference] = min(best_ms.get(window.reference, window.level_ms), window.level_ms)
    return best_ms
