"""A score with the parts that it is the mean of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.space import Architecture

if TYPE_CHECKING:
    from nas.quality.base import QualityMetric


@dataclass(frozen=True)
class Score:
    """What a metric says of an architecture; finite.

    Args:
        value: The score.
        parts: What it is the mean of, one number for each part of the held-out data; empty where there is one part.
    """

    value: float
    parts: tuple[float, ...] = ()


def score(quality: QualityMetric, architecture: Architecture) -> Score:
    """Score an architecture, once.

    Raises:
        ArithmeticError: The score is not finite.
    """
    value = quality.score(architecture)
    if not math.isfinite(value):
        raise ArithmeticError(f"{quality.name} is {float(value)}")
    parts: tuple[float, ...] = getattr(value, "parts", ())  # of a `MeanScore`
    return Score(float(value), parts if len(parts) > 1 else ())
