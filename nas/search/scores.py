"""A score with the parts that it is the mean of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
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
    """Score an architecture, once. A metric that has a score alone, and is no `QualityMetric`, has one part.

    Raises:
        ArithmeticError: A part is not finite.
        ValueError: The metric returns no parts at all.
    """
    in_parts = getattr(quality, "score_parts", None)
    parts = tuple(map(float, (quality.score(architecture),) if in_parts is None else in_parts(architecture)))
    for part in parts:
        if not math.isfinite(part):
            raise ArithmeticError(f"{quality.name} is {part}")
    if not parts:
        raise ValueError(f"{quality.name} returned no parts")
    return Score(fmean(parts), parts if len(parts) > 1 else ())
