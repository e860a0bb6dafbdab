"""How latency is measured.

Everything that is compared is loaded at once and called in turn, round after round, so that a slow minute of
the machine falls on all alike, and no block runs on caches that its own last call has filled. Each sample is
one call: the clock's resolution (tens of nanoseconds) is far below the shortest block, and repeating a call
flatters small blocks, which inside a network never find their data where they left it.

The latency is the 10th percentile over the rounds. On a machine that other programs share, sums of blocks came
nearer to whole networks with it than with the 25th percentile or the median, and moved least from one trial to the
next; `nas latency check` shows how near on yours. Short blocks escape other work more often than whole networks
do, hence on a busy machine sums of blocks come out too low; `Timings.processor_share` tells when that is so.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger("nas")

STATISTIC = "p10"
"""Name of the statistic that stands for a block's latency, as tables record it."""

WARM_UP_ROUNDS = 3
MAX_ROUNDS = 1000
QUIET_SHARE = 0.9


@dataclass(frozen=True)
class Timing:
    """Latency of one call, over all rounds.

    Args:
        latency_ms: 10th percentile.
        median_ms: Median.
        p90_ms: 90th percentile.
        samples: Number of rounds.
    """

    latency_ms: float
    median_ms: float
    p90_ms: float
    samples: int


@dataclass(frozen=True)
class Timings:
    """What one interleaved measurement found.

    Args:
        timings: One per call, in the order given.
        processor_share: Processor time over wall time; with one thread and nothing else running it is close
            to 1, and below it other programs took the rest.
    """

    timings: tuple[Timing, ...]
    processor_share: float


def measure(calls: Sequence[Callable[[], object]], *, rounds: int = 25, min_seconds: float = 2.0) -> Timings:
    """Time calls in turn.

    Args:
        calls: What to time; see `nas.runtimes.Executable.bind`.
        rounds: Rounds at least, after `WARM_UP_ROUNDS`.
        min_seconds: Rounds go on until they have taken this long (at most `MAX_ROUNDS`), because quick calls
            need many rounds to meet a quiet moment.
    """
    with _no_garbage_collection():
        for _ in range(WARM_UP_ROUNDS):
            _round(calls)
        wall, processor = time.perf_counter(), time.process_time()
        samples: list[list[float]] = []
        while len(samples) < rounds or (time.perf_counter() - wall < min_seconds and len(samples) < MAX_ROUNDS):
            samples.append(_round(calls))
        share = (time.process_time() - processor) / (time.perf_counter() - wall)
    return Timings(tuple(_timing(column) for column in np.array(samples).T), share)


def warn_if_busy(share: float, threads: int | None) -> None:
    """Log a warning where other programs took part of the processor from a single-threaded measurement."""
    if threads == 1 and share < QUIET_SHARE:
        logger.warning(
            "other programs took %.0f%% of the processor while measuring; latencies are less certain", 100 * (1 - share)
        )


def _round(calls: Sequence[Callable[[], object]]) -> list[float]:
    sample = []
    for call in calls:
        start = time.perf_counter_ns()
        call()
        sample.append((time.perf_counter_ns() - start) / 1e6)
    return sample


def _timing(samples_ms: NDArray[np.float64]) -> Timing:
    latency_ms, median_ms, p90_ms = np.percentile(samples_ms, (10, 50, 90))
    return Timing(float(latency_ms), float(median_ms), float(p90_ms), len(samples_ms))


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
