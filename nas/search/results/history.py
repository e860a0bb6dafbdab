"""Hypervolume of a study after each evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nas.errors import ConfigError
from nas.search.pareto import hypervolume, pareto_front
from nas.search.results.record import StudyRecord

Point = tuple[float, float]
"""Quality and the second objective: latency in ms, or with several devices a share of a budget, which has no unit."""


@dataclass(frozen=True)
class HypervolumeHistory:
    """Hypervolume of a study against evaluations.

    Args:
        reference: Reference point: quality, and the second objective, latency in ms.
        values: Hypervolume after each evaluation, in quality times ms. Evaluations over a budget add nothing.
    """

    reference: Point
    values: tuple[float, ...]


def hypervolume_history(record: StudyRecord, reference: Point | None = None) -> HypervolumeHistory | None:
    """The hypervolume of quality and latency after each evaluation.

    Args:
        record: The study.
        reference: Quality and the second objective, latency in ms; by default the worst of each among the feasible
            evaluations. Give it to compare studies, because hypervolumes are comparable only with the same reference
            point.

    Returns:
        `None` if nothing feasible was scored.

    Raises:
        ConfigError: The reference is not two finite numbers with a latency above zero, or the hypervolume is too large
            for a number.
    """
    if reference is not None and not (all(map(math.isfinite, reference)) and reference[1] > 0):
        raise ConfigError(
            f"expected two finite numbers, the milliseconds above zero, got {reference}", where="reference"
        )
    feasible = [(scored.quality, scored.second) for scored in record.evaluations if scored.feasible]
    if not feasible:
        return None
    corner = reference or _worst(record, feasible)
    values: list[float] = []
    front: list[Point] = []
    for scored in record.evaluations:
        if scored.feasible:
            front.append((scored.quality, scored.second))
            front = [point for point, leads in zip(front, pareto_front(front, record.directions), strict=True) if leads]
        with np.errstate(over="ignore"):  # checked below
            values.append(hypervolume(front, corner, record.directions))
    if not all(map(math.isfinite, values)):
        raise ConfigError(f"the hypervolume up to {corner} is too large for a number", where="reference",
                          hint="give a point nearer to the front")  # fmt: skip
    return HypervolumeHistory(corner, tuple(values))


def _worst(record: StudyRecord, points: list[Point]) -> Point:
    worst = max if record.direction == "minimize" else min
    return worst(quality for quality, _ in points), max(second for _, second in points)
