"""Intervals of estimates: from the errors for networks and chips that were left out of the calibration.

Networks of one family are off in the same direction, and so are networks on one chip. So each group that was left out
counts once, with the mean square of its errors. The errors are logarithms of published over estimated latency, and the
interval is that of a further value from a normal distribution around zero, whose deviation is estimated from as many
values as there are groups. With few groups, Student's t makes it wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nas.errors import ConfigError
from nas.latency.tables.metadata import EstimateInterval, LeftOut

COVERAGE_PERCENT = 80


def interval_of(
    log_errors: Iterable[tuple[str, float]], left_out: LeftOut, further: Sequence[float] = ()
) -> EstimateInterval:
    """The interval of estimates for a further group.

    Args:
        log_errors: For each latency, the group that was left out, and log(published / estimated).
        left_out: What the groups are.
        further: Logarithms of ratios that are a source of error of their own, such as between two compute units.

    Raises:
        ConfigError: There are no errors.
    """
    groups: dict[str, list[float]] = {}
    for group, error in log_errors:
        groups.setdefault(group, []).append(error)
    if not groups:
        raise ConfigError(f"an interval needs {left_out} that were left out, and there are none")
    from scipy import stats

    square = _mean([_mean([error**2 for error in errors]) for errors in groups.values()])
    square += _mean([error**2 for error in further]) if further else 0.0
    quantile = float(stats.t.ppf((1 + COVERAGE_PERCENT / 100) / 2, len(groups)))
    return EstimateInterval(
        factor=math.exp(quantile * math.sqrt(square)),
        coverage_percent=COVERAGE_PERCENT,
        left_out=left_out,
        groups=len(groups),
        latencies=sum(map(len, groups.values())),
    )


def wider(*intervals: EstimateInterval) -> EstimateInterval:
    """The widest of several intervals."""
    return max(intervals, key=lambda interval: interval.factor)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
