"""Detrending: what the calls of some windows would have taken if the machine had kept one speed.

The speed of a shared or warm machine changes from second to second by more than the error that a table may have. All
calls of one moment share its speed, and each call is made at many moments. So samples follow an additive model on
logarithms,

    log(sample) = log(latency of the call) + pace(moment) + noise,

as in Tukey's median polish (Exploratory Data Analysis, 1977, chapter 11), with two changes. The pace runs along the
sequence of calls. Low quantiles replace medians, because a disturbance makes a single call slower and never faster.
Both parts are estimated in turn. The result is each sample less the pace of its moment, plus the pace of the quiet
machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import percentile_filter

from nas.latency.measuring.windows import Window

_Values = NDArray[np.float64]

PACE_CALLS = 15
PACE_PERCENT = 20
PACE_ROUNDS = 2
# A call is left out of its own pace. Otherwise each call would seem to be on time, and its interval would vanish.
_OTHERS = np.arange(PACE_CALLS) != PACE_CALLS // 2
FIRST_QUANTILE = 0.1
CALL_QUANTILE = 0.25
QUIET_QUANTILE = 0.1
STEADY = 2.0
"""A call is used to estimate the pace if its samples spread at most this many times as far as the median call's."""


@dataclass(frozen=True)
class DetrendedSamples:
    """The samples of a window, at the pace of the quiet machine.

    Args:
        reference_ms: Calls of the reference.
        samples_ms: The calls of each name.
    """

    reference_ms: _Values
    samples_ms: Mapping[str, _Values]


def detrended(windows: Sequence[Window]) -> list[DetrendedSamples]:
    """What the calls of each window would have taken at one pace.

    Args:
        windows: In the order they were measured. Calls are compared across all of them.
    """
    if not windows:
        return []
    calls = _numbered(windows)
    samples_ms = np.concatenate([window.sequence_ms for window in windows])
    pace = _pace(np.log(samples_ms), calls)
    values = samples_ms * np.exp(np.quantile(pace, QUIET_QUANTILE) - pace)
    ends = np.cumsum([len(window.order) for window in windows])
    return [_split(window, part) for window, part in zip(windows, np.split(values, ends[:-1]), strict=True)]


def _numbered(windows: Sequence[Window]) -> NDArray[np.intp]:
    """A number for each call; calls of the same thing have the same number.

    A block that is measured and is also the reference has two numbers, because it was loaded twice.
    """
    numbers: dict[tuple[bool, str], int] = {}
    sequences = []
    for window in windows:
        called = [(True, window.reference), *((False, name) for name in window.samples_ms)]
        own = np.array([numbers.setdefault(name, len(numbers)) for name in called])
        sequences.append(own[np.asarray(window.order)])
    return np.concatenate(sequences)


def _pace(logs: _Values, calls: NDArray[np.intp]) -> _Values:
    """How slow the machine was at each call, as a logarithm: the slowdown that the neighbouring calls share."""
    latencies = _quantiles(logs, calls, FIRST_QUANTILE)
    steady = np.flatnonzero(_steady(logs, calls)[calls])
    pace = np.zeros_like(logs)
    for _ in range(PACE_ROUNDS):
        slower = (logs - latencies[calls])[steady]
        common = percentile_filter(slower, PACE_PERCENT, footprint=_OTHERS, mode="nearest")
        pace = np.interp(np.arange(len(logs)), steady, common)
        latencies = _quantiles(logs - pace, calls, CALL_QUANTILE)
    return pace


def _steady(logs: _Values, calls: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which calls are used to estimate the pace: the shortest ones jitter by more than the pace ever changes."""
    spreads = _quantiles(logs, calls, 0.75) - _quantiles(logs, calls, 0.25)
    return spreads <= STEADY * np.quantile(spreads, 0.5, method="lower")


def _quantiles(values: _Values, calls: NDArray[np.intp], quantile: float) -> _Values:
    order = np.argsort(calls, kind="stable")
    parts = np.split(values[order], np.cumsum(np.bincount(calls))[:-1])
    return np.array([np.quantile(part, quantile) for part in parts])


def _split(window: Window, values: _Values) -> DetrendedSamples:
    order = np.asarray(window.order)
    reference_ms, *samples_ms = (values[order == number] for number in range(1 + len(window.samples_ms)))
    return DetrendedSamples(reference_ms, dict(zip(window.samples_ms, samples_ms, strict=True)))
