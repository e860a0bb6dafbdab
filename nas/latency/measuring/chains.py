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
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from nas.errors import NasError
from nas.files import StrictModel
from nas.latency.measuring.protocol import Stopped, Timing
from nas.latency.measuring.statistics import Summary, summarise

REFERENCE_COPIES = 4
"""Copies of the reference block in the chain that watches the phone."""

CHAIN_LENGTHS = (4, 8, 16, 32)
"""Copies that a long chain may have; a short one has one."""

LEAST_COPIES = 2
"""Copies of the shortest of long chains, where no longer one runs."""

NOISE_GAIN = 1.3
"""A long chain is long enough when a difference of two calls is at most so many times as noisy as one call."""

MIN_PAIRS = 6
"""Fewer samples have no 95% interval of their median."""

_LEAST_MS = 1e-6


class NoDifferenceError(NasError):
    """Long chains take no longer than short ones: nothing is known of the block's latency."""


class PhoneProtocol(StrictModel):
    """How finely to measure on a phone, where each call is a round trip of seconds.

    Args:
        pairs: Pairs of calls of each block, at least.
        max_pairs: A block is also done after so many that were measured, counted or not.
        interval_percent: A block is done when half the width of its latency's 95% interval is at most this share of
            it, in percent.
        pairs_between: Pairs between two calls of the reference.
        drift_percent: Pairs count while the reference before and after them takes at most this much longer than at
            its best.
        cool_down_s: How long to let the phone cool down when it takes longer; each time twice as long as before.
        max_cool_down_s: But never longer than this.
        cool_downs: How often for one block; then it is measured as the phone is.
        difference_ms: A long chain takes at least so much longer than a short one, where `max_copies` allows it: calls
            differ by about 0.1 ms however short they are.
        max_copies: Longest chain.
        max_chain_bytes: Most that a chain's package may take, by the size of one copy.
    """

    pairs: Annotated[int, Field(ge=MIN_PAIRS)] = MIN_PAIRS
    max_pairs: Annotated[int, Field(ge=MIN_PAIRS)] = 48
    interval_percent: PositiveFloat = 1.0
    pairs_between: PositiveInt = 3
    drift_percent: NonNegativeFloat = 10.0
    cool_down_s: NonNegativeFloat = 20.0
    max_cool_down_s: NonNegativeFloat = 300.0
    cool_downs: PositiveInt = 6
    difference_ms: NonNegativeFloat = 3.0
    max_copies: Annotated[int, Field(ge=2)] = 32
    max_chain_bytes: PositiveInt = 2**30

    @model_validator(mode="after")
    def _enough_pairs_are_allowed(self) -> PhoneProtocol:
        if self.pairs > self.max_pairs:
            raise ValueError(f"pairs is {self.pairs}, more than max_pairs, {self.max_pairs}")
        return self


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


def settled(parts: Sequence[Pairs], best_ms: float, protocol: PhoneProtocol) -> Timing | None:
    """What is known of a block that needs no more measuring; `None` where it does.

    Args:
        parts: Its pairs, all of one chain's length.
        best_ms: The reference at its best, over all there is.
        protocol: How finely.

    Raises:
        NoDifferenceError: The long chains were no longer under way than the short ones.
    """
    counting = [each for each in parts if each.drift(best_ms) <= protocol.drift_percent / 100]
    if sum(len(each.short_ms) for each in counting) >= protocol.pairs:
        raw = summarise(samples_of(counting), quantile=0.5)
        if raw.latency_ms > 0 and raw.interval_percent <= protocol.interval_percent:
            return timing(counting, best_ms, "precise")
    if sum(len(each.short_ms) for each in parts) < protocol.max_pairs:
        return None
    enough = sum(len(each.short_ms) for each in counting) >= protocol.pairs
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


def chain_length(first_ms: float, call_ms: float, package_bytes: int | None, protocol: PhoneProtocol) -> int:
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
        protocol: Bounds.
    """
    block_ms = max(first_ms - call_ms, 0.02 * first_ms)
    fitting = protocol.max_chain_bytes // package_bytes if package_bytes else protocol.max_copies
    bound = max(min(protocol.max_copies, fitting), 2)
    lengths = [length for length in CHAIN_LENGTHS if length <= bound] or [bound]
    for length in lengths:
        long_ms = first_ms + (length - 1) * block_ms
        apart_ms = long_ms - first_ms
        if apart_ms >= protocol.difference_ms and math.hypot(first_ms, long_ms) <= NOISE_GAIN * apart_ms:
            return length
    return lengths[-1]
