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
    """What was found of one call.

    Args:
        summary: Latency and spread over the samples that count.
        stopped: Why measuring ended: the interval was narrow enough, or the time was used up.
        drift_percent: How much longer the reference took while they were taken than in its best window.
    """

    summary: Summary
    stopped: Stopped
    drift_percent: float

    @property
    def latency_ms(self) -> float:
        """See `Summary`."""
        return self.summary.latency_ms


def timings(names: Iterable[str], windows: Sequence[Window], measurement: MeasurementSettings) -> dict[str, Timing]:
    """What the windows tell of those calls that need no more measuring."""
    names = list(names)
    return finished(names, compared(names, windows), measurement)


class Part(NamedTuple):
    """A window, its calls at the pace of the quiet machine, and how much longer the reference took than at best."""

    window: Window
    detrended: DetrendedSamples
    drift: float


def compared(names: Collection[str], windows: Sequence[Window]) -> list[Part]:
    """The windows that any of these calls took part in; all are compared with each other."""
    best_ms = best_levels(windows)
    theirs = [each for each in windows if not each.samples_ms.keys().isdisjoint(names)]
    drift = [each.level_ms / best_ms[each.reference] - 1 for each in theirs]
    return [Part(*each) for each in zip(theirs, detrended(theirs), drift, strict=True)]


def undrifted(parts: Sequence[Part], measurement: MeasurementSettings) -> list[Part]:
    """The parts that count."""
    return [each for each in parts if each.drift <= measurement.drift_percent / 100]


def finished(names: Iterable[str], parts: Sequence[Part], measurement: MeasurementSettings) -> dict[str, Timing]:
    """What is known of those calls that need no more measuring."""
    found = {
        name: _timing(name, [each for each in parts if name in each.detrended.samples_ms], measurement)
        for name in names
    }
    return {name: result for name, result in found.items() if result is not None}


def _timing(name: str, parts: Sequence[Part], measurement: MeasurementSettings) -> Timing | None:
    if not parts or sum(each.window.seconds for each in parts) < measurement.min_seconds:
        return None
    counting = undrifted(parts, measurement)
    if sum(len(each.window.samples_ms[name]) for each in counting) >= measurement.rounds:
        found = _found(name, counting, "precise")
        if found.summary.interval_percent <= measurement.interval_percent:
            return found
    spent_s = sum(sum(each.window.samples_ms[name]) for each in parts) / 1e3
    number = sum(len(each.window.samples_ms[name]) for each in parts)
    if number < measurement.rounds or (spent_s < measurement.max_seconds and number < MAX_SAMPLES):
        return None
    # All of a call's time may have fallen into drift: then its samples stand, and the drift is told beside them.
    return _found(name, counting or parts, "time")


def _found(name: str, parts: Sequence[Part], stopped: Stopped) -> Timing:
    samples_ms = np.concatenate([each.detrended.samples_ms[name] for each in parts])
    return Timing(summarise(samples_ms), stopped, 100 * float(np.median([each.drift for each in parts])))
