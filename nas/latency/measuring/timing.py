"""When a call has been measured precisely enough, and what is known of it then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nas.latency.measuring.detrending import DetrendedSamples, detrended
from nas.latency.measuring.recorded import Stopped
from nas.latency.measuring.settings import MAX_SAMPLES, MeasurementSettings
from nas.latency.measuring.statistics import Summary, summarise
from nas.latency.measuring.windows import Window, best_levels


@dataclass(frozen=True)
class Timing:
    """The latency of one call, with the conditions it was measured under.

    Args:
        summary: Latency and spread over the samples that count.
        stopped: Why measuring stopped: the interval was narrow enough, or the time was used up.
        drift_percent: How much longer the reference took meanwhile than in its best window.
    """

    summary: Summary
    stopped: Stopped
    drift_percent: float

    @property
    def latency_ms(self) -> float:
        """The latency, in milliseconds."""
        return self.summary.latency_ms


def timings(names: Iterable[str], windows: Sequence[Window], measurement: MeasurementSettings) -> dict[str, Timing]:
    """The latencies of those calls that need no more measuring, from all windows."""
    names = list(names)
    return finished(names, compared(names, windows), measurement)


class ComparedWindow(NamedTuple):
    """A window with its detrended samples, and how much longer the reference took than in its best window."""

    window: Window
    detrended: DetrendedSamples
    drift: float


def compared(names: Collection[str], windows: Sequence[Window]) -> list[ComparedWindow]:
    """The windows with any of these calls, detrended together."""
    best_ms = best_levels(windows)
    relevant = [window for window in windows if not window.samples_ms.keys().isdisjoint(names)]
    drifts = [window.level_ms / best_ms[window.reference] - 1 for window in relevant]
    return [ComparedWindow(*fields) for fields in zip(relevant, detrended(relevant), drifts, strict=True)]


def undrifted(windows: Sequence[ComparedWindow], measurement: MeasurementSettings) -> list[ComparedWindow]:
    """The windows that count, because the machine was fast enough."""
    return [window for window in windows if window.drift <= measurement.drift_percent / 100]


def finished(
    names: Iterable[str], windows: Sequence[ComparedWindow], measurement: MeasurementSettings
) -> dict[str, Timing]:
    """The latencies of those calls that need no more measuring."""
    results = {
        name: _timing(name, [window for window in windows if name in window.detrended.samples_ms], measurement)
        for name in names
    }
    return {name: timing for name, timing in results.items() if timing is not None}


def _timing(name: str, windows: Sequence[ComparedWindow], measurement: MeasurementSettings) -> Timing | None:
    if not windows or sum(window.window.seconds for window in windows) < measurement.min_seconds:
        return None
    counting = undrifted(windows, measurement)
    if _calls(name, counting) >= measurement.rounds:
        timing = _summarised(name, counting, "precise")
        if timing.summary.interval_percent <= measurement.interval_percent:
            return timing
    spent_s = sum(sum(window.window.samples_ms[name]) for window in windows) / 1e3
    calls = _calls(name, windows)
    if calls < measurement.rounds or (spent_s < measurement.max_seconds and calls < MAX_SAMPLES):
        return None
    # If all of a call's time fell into drift, its samples are used, and the drift is recorded beside them.
    return _summarised(name, counting or windows, "time")


def _calls(name: str, windows: Sequence[ComparedWindow]) -> int:
    return sum(len(window.window.samples_ms[name]) for window in windows)


def _summarised(name: str, windows: Sequence[ComparedWindow], stopped: Stopped) -> Timing:
    samples_ms = np.concatenate([window.detrended.samples_ms[name] for window in windows])
    return Timing(summarise(samples_ms), stopped, 100 * float(np.median([window.drift for window in windows])))
