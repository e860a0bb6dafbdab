"""Losses on a scale where they are easy to model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LOWEST = -0.9


@dataclass(frozen=True)
class LossScale:
    """Logarithm of the distance from the best, then mean 0 and deviation 1.

    A search looks at many architectures that are bad, some of them beyond all bounds, and has to tell the good ones
    apart. The logarithm gives the good half of all trials as much room as the bad one. Only the order and the ratio
    of distances matter, so any metric will do, whatever its unit and wherever its zero.

    Args:
        best: The least loss when the scale was made.
        unit: From there to the median.
        mean: Of the logarithms.
        deviation: Of the logarithms.
    """

    best: float
    unit: float
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, losses: Floats) -> Self:
        """The scale for losses; the unit is 1 where the better half of them are equal."""
        best = float(losses.min())
        raw = cls(best, float(np.median(losses) - best) or 1.0)
        logarithms = raw(losses)
        return cls(best, raw.unit, float(logarithms.mean()), float(logarithms.std()) or 1.0)

    def __call__(self, losses: Floats) -> Floats:
        """Losses on the scale; NaN stays NaN."""
        distance = np.maximum((losses - self.best) / self.unit, _LOWEST)
        scaled: Floats = (np.log1p(distance) - self.mean) / self.deviation
        return scaled
