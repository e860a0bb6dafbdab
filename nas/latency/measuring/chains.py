"""Latencies from chains of blocks: what a device takes longer for more copies.

One sample is a pair of calls, of a short and of a long chain of the same block, right after one another: their
difference over the difference in copies. Whatever a call takes by itself is in both, and cancels. The latency is the
median over the pairs: a difference is disturbed upwards as often as downwards.

The phone is watched through a reference, a chain that is always the same, called before and after every few pairs. It
tells throttling, which the pairs themselves cannot: a hot phone is slow for minutes.
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
"""Copies of the reference block in the chain that watches the phone."""

CHAIN_LENGTHS = (4, 8, 16, 32)
"""Copies that a long chain may have; a short one has one."""

LEAST_COPIES = 2
"""Copies of the shortest of long chains, where no longer one runs."""

NOISE_GAIN = 1.3
"""A long chain is long enough when a difference of two calls is at most so many times as noisy as one call."""

_LEAST_MS = 1e-6


class NoDifferenceError(NasError):
    """Long chains take no longer than short ones: nothing is known of the block's latency."""


@dataclass(frozen=True)
class Pairs:
    """A few pairs of calls in a row.

    Args:
        reference_ms: The reference before and after them.
        short_ms: The short chain's calls.
        long_ms: The long chain's, as many.
        copies: Copies in the short chain, and in the long.
    """

    reference_ms: tuple[float, ...]
    short_ms: tuple[float, ...]
    long_ms: tuple[float, ...]
    copies: tuple[int, int]

    @property
    def level_ms(self) -> float:
        """What the reference took."""
        return float(np.mean(self.reference_ms))

    def drift(self, best_ms: float) -> float:
        """How much longer the reference took than at its best, where it took longest; 0.1 is 10%."""
        return max(max(self.reference_ms) / best_ms - 1, 0.0)

    @property
    def samples_ms(self) -> list[float]:
        """One copy's latency, by each of the pairs."""
        apart = self.copies[1] - self.copies[0]
        return [(long - short) / apart for short, long in zip(self.short_ms, self.long_ms, strict=True)]


def best_level(levels_ms: Sequence[float]) -> float:
    """What the reference takes when the phone is at its best; infinity before it was ever called."""
    return min(levels_ms, default=math.inf)


def finished_chain(parts: Sequence[Pairs], best_ms: float, measurement: PhoneMeasurementSettings) -> Timing | None:
    """What is known of a block that needs no more measuring; `None` where it does.

    Args:
        parts: Its pairs, all of one chain's length.
        best_ms: The reference at its best, over all there is.
        measurement: How finely.

    Raises:
        NoDifferenceError: The long chains were no longer under way than the short ones.
    """
    counting = [each for each in parts if each.drift(best_ms) <= measurement.drift_percent / 100]
    if sum(len(each.short_ms) for each in counting) >= measurement.pairs:
        raw = summarise(samples_of(counting), quantile=0.5)
        if raw.latency_ms > 0 and raw.interval_percent <= measurement.interval_percent:
            return timing(counting, best_ms, "precise")
    if sum(len(each.short_ms) for each in parts) < measurement.max_pairs:
        return None
    enough = sum(len(each.short_ms) for each in counting) >= measurement.pairs
    return timing(counting if enough else parts, best_ms, "time")


def timing(parts: Sequence[Pairs], best_ms: float, stopped: Stopped) -> Timing:
    """Latency over some pairs, and the drift they were measured under.

    Noise may make less than nothing of the shortest blocks. Then the upper end of the interval stands for the latency:
    no layer is to be free because it was not told from noise.

    Raises:
        NoDifferenceError: The upper end is not above zero, either.
    """
    found = summarise(samples_of(parts), quantile=0.5)
    if found.ci_high_ms <= 0:
        raise NoDifferenceError(f"in {found.samples} pairs of calls the long chain took no longer than the short one")
    latency_ms = found.latency_ms if found.latency_ms > 0 else found.ci_high_ms
    low_ms, p90_ms = max(found.ci_low_ms, _LEAST_MS), max(found.p90_ms, latency_ms)
    summary = Summary(latency_ms, min(low_ms, latency_ms), found.ci_high_ms, latency_ms, p90_ms, found.samples)
    drifts = [each.drift(best_ms) for each in parts for _ in each.short_ms]
    return Timing(summary, stopped, 100 * float(np.median(drifts)))


def samples_of(parts: Sequence[Pairs]) -> list[float]:
    """One copy's latency, by each of their pairs."""
    return [sample for each in parts for sample in each.samples_ms]


def shorter_chains(copies: int) -> list[int]:
    """Lengths to try for a long chain, from this one down to `LEAST_COPIES`."""
    return [copies, *(length for length in (*reversed(CHAIN_LENGTHS), LEAST_COPIES) if length < copies)]


def overhead_ms(parts: Sequence[Pairs], latency_ms: float) -> float:
    """What a call takes beside its copies: what is left of a short chain without them."""
    short_ms = float(np.median([value for each in parts for value in each.short_ms]))
    return max(short_ms - parts[0].copies[0] * latency_ms, 0.0)


def chain_length(
    first_ms: float, call_ms: float, package_bytes: int | None, measurement: PhoneMeasurementSettings
) -> int:
    """Copies in a block's long chain: enough for the difference to be well above the noise of one call.

    Noise has a part that grows with what is timed: a difference of two calls of `t1` and `tK` is as noisy as
    `sqrt(t1^2 + tK^2)`, of which the copies make `tK - t1`. Longer chains come closer to that noise of one call, and
    never below it. The other part is the same for all calls, and for short blocks the larger one (of calls of 0.1 to
    2.6 ms on an iPhone 14, standard deviations of 0.1 to 0.2 ms were published); it shrinks with each copy. But longer
    chains are larger, and take longer to convert and to load.

    Args:
        first_ms: A first call of one copy.
        call_ms: What a call takes beside its copies, as far as it is known.
        package_bytes: Size of one copy.
        measurement: Bounds.
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
