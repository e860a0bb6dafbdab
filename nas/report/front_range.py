"""The ranges of the front's axes: one outlier must not flatten everything else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nas.search import StudyRecord
from nas.search.results.evaluation import Evaluation
from nas.search.results.second_intervals import second_interval

REACH, FRONT_REACH = 1.5, 3.0
"""How many interquartile ranges beyond the quartiles a point may lie (Tukey's fences), and a member of the front."""

FLAT = 2.0
"""Points are left out only if the range of all would be this many times as wide."""

MARGIN = 0.07
"""Empty space beside the outermost points, as a share of the range."""

INTERVALS = 1.0
"""How far the intervals of latencies may widen the axis on each side, as a share of the range of the points."""

Range = tuple[float, float]


def axis_ranges(record: StudyRecord, also: Sequence[float] = ()) -> tuple[Range, Range] | None:
    """The ranges of latency and of quality that hold the front and what is near the other architectures.

    Args:
        record: The study.
        also: Values of the second objective to hold, too, if they are not further away than the points are wide.

    Returns:
        `None` without a scored architecture.
    """
    if not record.evaluations:
        return None
    every, front = _columns(record.evaluations), _columns(record.front)
    ranges = [_range(all_of_them, leading) for all_of_them, leading in zip(every, front, strict=True)]
    (low, high), quality = ranges
    near = [value for value in also if low - (high - low) <= value <= high + (high - low)]
    places = [low, high, *near, *(_interval_ends(record) if _hold_intervals(record, (low, high)) else ())]
    return _with_margin(min(places), max(places)), _with_margin(*quality)


def intervals_fit(record: StudyRecord) -> bool:
    """Whether the intervals of the front fit on the axis of latency, without flattening what is on it."""
    every, front = _columns(record.evaluations)[0], _columns(record.front)[0]
    return not len(every) or _hold_intervals(record, _range(every, front))


def _hold_intervals(record: StudyRecord, points: Range) -> bool:
    low, high = points
    reach, ends = INTERVALS * (high - low) or float("inf"), _interval_ends(record)
    return all(low - reach <= end <= high + reach for end in ends)


def _interval_ends(record: StudyRecord) -> list[float]:
    return [end for member in record.front for end in second_interval(member, record) or ()]


def outside(record: StudyRecord, also: Sequence[float] = ()) -> list[Evaluation]:
    """The architectures that these ranges leave out."""
    ranges = axis_ranges(record, also)
    if ranges is None:
        return []
    return [scored for scored in record.evaluations if clipped(scored, ranges) != (scored.second, scored.quality)]


def clipped(scored: Evaluation, ranges: tuple[Range, Range]) -> tuple[float, float]:
    """The place of an architecture, or the nearest one within the ranges."""
    second, quality = (
        min(max(value, low), high) for value, (low, high) in zip((scored.second, scored.quality), ranges, strict=True)
    )
    return second, quality


def _columns(evaluations: Sequence[Evaluation]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    points = np.array([(scored.second, scored.quality) for scored in evaluations]).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _range(values: NDArray[np.float64], front: NDArray[np.float64]) -> Range:
    kept = np.concatenate([_within(values, REACH), _within(front, FRONT_REACH)])
    if np.ptp(values) <= FLAT * np.ptp(kept):
        kept = values
    return float(kept.min()), float(kept.max())


def _within(values: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    if not len(values):
        return values
    first, third = np.quantile(values, [0.25, 0.75])
    far = reach * (third - first)
    kept: NDArray[np.float64] = values[(values >= first - far) & (values <= third + far)]
    return kept


def _with_margin(low: float, high: float) -> Range:
    margin = MARGIN * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin
