"""A scale on which losses are easy to model."""

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

    A search evaluates many bad architectures, some of them extremely bad, and has to distinguish the good ones. The
    logarithm gives the good half of the trials as much room as the bad half. Only the order and the ratios of distances
    matter, so the metric may have any unit and any zero.

    Args:
        best: The lowest loss when the scale was made.
        unit: Distance from the lowest loss to the median.
        mean: Mean of the logarithms.
        deviation: Standard deviation of the logarithms.
    """

    best: float
    unit: float
    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, losses: Floats) -> Self:
        """The scale for losses; the unit is 1 if the better half of them are equal."""
        best = float(losses.min())
        raw = cls(best, float(np.median(losses) - best) or 1.0)
        logarithms = raw(losses)
        return cls(best, raw.unit, float(logarithms.mean()), float(logarithms.std()) or 1.0)

    def __call__(self, losses: Floats) -> Floats:
        """Losses on the scale; NaN stays NaN."""
        distance = np.maximum((losses - self.best) / self.unit, _LOWEST)
        scaled: Floats = (np.log1p(distance) - self.mean) / self.deviation
        return scaled
