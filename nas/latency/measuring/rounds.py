"""Rounds: how the latencies of calls are measured.

Everything that is compared is loaded at once and called in turn, round after round, each round in a different order. A
slow moment of the machine then affects all calls alike, and no block finds the caches as its own last call left them.
Each sample is one call. The clock's resolution (tens of nanoseconds) is far below the shortest block. Repeated calls
would flatter small blocks, whose data is not in the caches inside a network.

A reference block runs repeatedly between the calls. It always does the same work. If it takes longer, the machine has
slowed down: another program, another clock rate, a hot processor. Rounds are collected in windows of up to a second. A
window does not count if the reference was slower than in the best one, and its calls are measured again. The windows
that count are detrended, see `nas.latency.measuring.detrending`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nas.latency.measuring.settings import MeasurementSettings
from nas.latency.measuring.statistics import summarise
from nas.latency.measuring.timing import ComparedWindow, Timing, compared, finished, undrifted
from nas.latency.measuring.windows import Window
from nas.processors import processors

logger = logging.getLogger("nas")

Call = Callable[[], object]

MIN_WINDOW_S = 0.2
MAX_WINDOW_S = 1.0
REFERENCE_EVERY_S = 0.02
REFERENCE_SHARE = 0.1
WARM_UP_WINDOW = 3
WARM_UP_CHANGE = 0.05
MAX_WARM_UP_ROUNDS = 15
QUIET_SHARE = 0.9


@dataclass(frozen=True)
class Timings:
    """The result of one interleaved measurement.

    Args:
        timings: One per call, by name.
        processor_share: Processor time over wall time. With one thread it is close to 1, unless other programs
            take part of the processor.
        reference_ms: Latency of the reference during this measurement, over the windows that count; `None` if
            nothing was left to measure.
    """

    timings: Mapping[str, Timing]
    processor_share: float
    reference_ms: float | None


def measure(
    calls: Mapping[str, Call],
    reference: tuple[str, Call],
    measurement: MeasurementSettings | None = None,
    *,
    earlier: Iterable[Window] = (),
    record: Callable[[Window, Mapping[str, Timing]], None] | None = None,
) -> Timings:
    """Time calls in turn until each is measured precisely enough.

    Args:
        calls: What to time, by name; see `nas.runtimes.Executable.bind`.
        reference: Name and call of the reference block.
        measurement: How precisely to measure; the defaults when left out.
        earlier: Stretches measured before, by an interrupted run; their samples count.
        record: Called after each window, with the window and all calls that are done by then.
    """
    return _Measurement(dict(calls), reference, measurement or MeasurementSettings(), list(earlier)).run(record)


def warn_if_busy(share: float, threads: int | None) -> None:
    """Log a warning if other programs took part of the processor from a single-threaded measurement."""
    if threads == 1 and share < QUIET_SHARE:
        logger.warning(
            "other programs used %.0f%% of the processor during the measurement; latencies are less certain",
            100 * (1 - share),
        )


def warn_if_crowded(threads: int | None) -> None:
    """Log a warning if there are more threads to measure with than processors that this process may use."""
    allowed = processors()
    if threads is not None and threads > allowed:
        logger.warning(
            "%d threads share the %s that this process may use and wait for each other, so latencies are too long; "
            "allow more processors or measure with --threads %d",
            threads, "one processor" if allowed == 1 else f"{allowed} processors", allowed,
        )  # fmt: skip


@dataclass
class _Measurement:
    """The state of one measurement."""

    calls: dict[str, Call]
    reference: tuple[str, Call]
    measurement: MeasurementSettings
    windows: list[Window]
    compared: list[ComparedWindow] = field(default_factory=list)
    done: dict[str, Timing] = field(default_factory=dict)
    open: dict[str, Call] = field(default_factory=dict)
    reference_due: float = 0.0
    # The order only has to change; it need not be reproducible.
    rng: random.Random = field(default_factory=random.Random)

    def run(self, record: Callable[[Window, Mapping[str, Timing]], None] | None) -> Timings:
        self._settle()
        if not self.open:
            return Timings(self.done, 1.0, None)
        with _no_garbage_collection():
            self._warm_up()
            known = len(self.windows)
            wall, processor = time.perf_counter(), time.process_time()
            while self.open:
                window = self._window()
                self.windows.append(window)
                self._settle()
                if record is not None:
                    record(window, self.done)
            share = (time.process_time() - processor) / (time.perf_counter() - wall)
        return Timings(self.done, share, self._reference_ms(len(self.windows) - known))

    def _reference_ms(self, last: int) -> float:
        """The reference in the last windows, detrended together with all other calls."""
        latest = self.compared[-last:]
        counting = undrifted(latest, self.measurement) or latest
        return summarise(np.concatenate([window.detrended.reference_ms for window in counting])).latency_ms

    def _settle(self) -> None:
        """Split calls into done and open; a fast window may show earlier ones as drift, which reopens calls."""
        self.compared = compared(self.calls, self.windows)
        self.done = finished(self.calls, self.compared, self.measurement)
        self.open = {name: call for name, call in self.calls.items() if name not in self.done}

    def _warm_up(self) -> None:
        """Call everything until rounds have stopped becoming faster."""
        totals_ms: list[float] = []
        while len(totals_ms) < MAX_WARM_UP_ROUNDS:
            totals_ms.append(sum(_timed(call) for call in (self.reference[1], *self.open.values())))
            before, after = totals_ms[:-WARM_UP_WINDOW][-WARM_UP_WINDOW:], totals_ms[-WARM_UP_WINDOW:]
            if len(before) == WARM_UP_WINDOW and min(after) >= (1 - WARM_UP_CHANGE) * min(before):
                return

    def _window(self) -> Window:
        calls = [self.reference[1], *self.open.values()]
        made: list[tuple[int, float]] = []
        began, rounds, lasted = time.perf_counter(), 0, 0.0
        while lasted < MIN_WINDOW_S or (rounds < self.measurement.rounds and lasted < MAX_WINDOW_S):
            self._round(calls, made)
            rounds, lasted = rounds + 1, time.perf_counter() - began
        samples: list[list[float]] = [[] for _ in calls]
        for number, sample_ms in made:
            samples[number].append(sample_ms)
        reference_ms, *others_ms = map(tuple, samples)
        return Window(
            self.reference[0],
            reference_ms,
            dict(zip(self.open, others_ms, strict=True)),
            tuple(number for number, _ in made),
        )

    def _round(self, calls: Sequence[Call], made: list[tuple[int, float]]) -> None:
        order = list(range(1, len(calls)))
        self.rng.shuffle(order)
        for number in order:
            if not made or time.perf_counter() >= self.reference_due:
                made.append((0, _timed(calls[0])))
                pause_s = max(REFERENCE_EVERY_S, made[-1][1] / 1e3 / REFERENCE_SHARE)
                self.reference_due = time.perf_counter() + pause_s
            made.append((number, _timed(calls[number])))


def _timed(call: Call) -> float:
    start = time.perf_counter_ns()
    call()
    # The shortest calls may end within one tick of a coarse clock, and no call takes no time.
    return max(time.perf_counter_ns() - start, 1) / 1e6


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
