"""Latencies from chains of blocks: the extra time that a device needs for more copies.

One sample comes from a pair of calls, of a short and of a long chain of the same block, one right after the other. It
is the difference of their times, divided by the difference in copies. The time that a call takes by itself is in both,
and cancels. The latency is the median over the pairs, because a difference is disturbed upwards as often as downwards.

A reference chain, always the same, is called before and after every few pairs. It shows throttling, which the pairs
cannot show: a hot phone is slow for minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import NasError
from nas.latency.measuring.recorded import Stopped
from nas.latency.measuring.settings import PhoneMeasurementSettings
from nas.latency.measuring.statistics import Summary, summarise
from nas.latency.measuring.timing import Timing

REFERENCE_COPIES = 4
"""Copies of the reference block in the reference chain."""

CHAIN_LENGTHS = (4, 8, 16, 32)
"""Copies that a long chain may have; a short one has one."""

LEAST_COPIES = 2
"""Copies of the shortest long chain, used if no longer one runs."""

NOISE_GAIN = 1.3
"""A long chain is long enough if a difference of two calls is at most this many times as noisy as one call."""

_LEAST_MS = 1e-6


class NoDifferenceError(NasError):
    """Long chains take no longer than short ones, so the block's latency cannot be measured."""


@dataclass(frozen=True)
class Pairs:
    """A few pairs of calls in a row.

    Args:
        reference_ms: Calls of the reference before and after the pairs.
        short_ms: Calls of the short chain.
        long_ms: Calls of the long chain, equally many.
        copies: Copies in the short chain, and in the long chain.
    """

    reference_ms: tuple[float, ...]
    short_ms: tuple[float, ...]
    long_ms: tuple[float, ...]
    copies: tuple[int, int]

    @property
    def level_ms(self) -> float:
        """The mean call of the reference."""
        return float(np.mean(self.reference_ms))

    def drift(self, best_ms: float) -> float:
        """How much longer the slowest call of the reference took than its best one; 0.1 is 10%."""
        return max(max(self.reference_ms) / best_ms - 1, 0.0)

    @property
    def samples_ms(self) -> list[float]:
        """One copy's latency, from each pair."""
        apart = self.copies[1] - self.copies[0]
        return [(long - short) / apart for short, long in zip(self.short_ms, self.long_ms, strict=True)]


def best_level(levels_ms: Sequence[float]) -> float:
    """The reference's time when the phone is at its best; infinity before it was ever called."""
    return min(levels_ms, default=math.inf)


def finished_chain(series: Sequence[Pairs], best_ms: float, measurement: PhoneMeasurementSettings) -> Timing | None:
    """The latency of a block that needs no more measuring; `None` if it needs more.

    Args:
        series: All of its pairs, with chains of one length.
        best_ms: The best call of the reference in the whole job.
        measurement: How precisely to measure.

    Raises:
        NoDifferenceError: The long chains took no longer than the short ones.
    """
    counting = [pairs for pairs in series if pairs.drift(best_ms) <= measurement.drift_percent / 100]
    enough = _number(counting) >= measurement.pairs
    if enough:
        raw = summarise(samples_of(counting), quantile=0.5)
        if raw.latency_ms > 0 and raw.interval_percent <= measurement.interval_percent:
            return timing(counting, best_ms, "precise")
    if _number(series) < measurement.max_pairs:
        return None
    return timing(counting if enough else series, best_ms, "time")


def timing(series: Sequence[Pairs], best_ms: float, stopped: Stopped) -> Timing:
    """The latency over some pairs, and the drift they were measured under.

    Noise may make the latency of the shortest blocks negative. Then the upper end of the interval is reported: no layer
    may be free because it could not be told from noise.

    Raises:
        NoDifferenceError: The upper end is not above zero, either.
    """
    summary = summarise(samples_of(series), quantile=0.5)
    if summary.ci_high_ms <= 0:
        raise NoDifferenceError(f"in {summary.samples} pairs of calls the long chain took no longer than the short one")
    latency_ms = summary.latency_ms if summary.latency_ms > 0 else summary.ci_high_ms
    low_ms, p90_ms = max(summary.ci_low_ms, _LEAST_MS), max(summary.p90_ms, latency_ms)
    positive = Summary(latency_ms, min(low_ms, latency_ms), summary.ci_high_ms, latency_ms, p90_ms, summary.samples)
    drifts = [pairs.drift(best_ms) for pairs in series for _ in pairs.short_ms]
    return Timing(positive, stopped, 100 * float(np.median(drifts)))


def samples_of(series: Sequence[Pairs]) -> list[float]:
    """One copy's latency, from each pair."""
    return [sample for pairs in series for sample in pairs.samples_ms]


def _number(series: Sequence[Pairs]) -> int:
    return sum(len(pairs.short_ms) for pairs in series)


def shorter_chains(copies: int) -> list[int]:
    """The lengths to try for a long chain, from this one down to `LEAST_COPIES`."""
    return [copies, *(length for length in (*reversed(CHAIN_LENGTHS), LEAST_COPIES) if length < copies)]


def overhead_ms(series: Sequence[Pairs], latency_ms: float) -> float:
    """The time of a call beside its copies: a short chain, less the latency of its copies."""
    short_ms = float(np.median([call_ms for pairs in series for call_ms in pairs.short_ms]))
    return max(short_ms - series[0].copies[0] * latency_ms, 0.0)


def chain_length(
    first_ms: float, call_ms: float, package_bytes: int | None, measurement: PhoneMeasurementSettings
) -> int:
    """Copies in a block's long chain: enough to bring the difference well above the noise of one call.

    One part of the noise grows with the time of a call: a difference of two calls of `t1` and `tK` is as noisy as
    `sqrt(t1^2 + tK^2)`, and the copies make up `tK - t1` of it. Longer chains come closer to the noise of one call, and
    never get below it. The other part is the same for all calls, and it is the larger one for short blocks (for calls
    of 0.1 to 2.6 ms on an iPhone 14, standard deviations of 0.1 to 0.2 ms were published). It shrinks with each copy.
    But longer chains are larger, and take longer to convert and to load.

    Args:
        first_ms: A first call of one copy.
        call_ms: The time of a call beside its copies, as far as it is known.
        package_bytes: Size of one copy.
        measurement: Limits of the length.
    """
    block_ms = max(first_ms - call_ms, 0.02 * first_ms)
    fitting = measurement.max_chain_bytes // package_bytes if package_bytes else measurement.max_copies
    bound = max(min(measurement.max_copies, fitting), 2)
    lengths = [length for length in CHAIN_LENGTHS if length <= bound] or [bound]
    for length in lengths:
        long_ms = first_ms + (length - 1) * block_ms
        apart_ms = long_ms - first_ms
        if apart_ms >= measurement.difference_ms and math.hypot(first_ms, long_ms) <= NOISE_GAIN * apart_ms:
            return length
    return lengths[-1]
