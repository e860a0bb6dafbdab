"""How latency is measured.

Everything that is compared is loaded at once and called in turn, round after round and each round in another
order, so that a slow minute of the machine falls on all alike, and no block runs on caches that its own last call
has filled. Each sample is one call: the clock's resolution (tens of nanoseconds) is far below the shortest block,
and repeating a call flatters small blocks, which inside a network never find their data where they left it.

Between the calls a reference block runs again and again. It is always the same work, so whatever it takes longer
is the machine: another program, another clock rate, a processor that has become hot. Rounds are collected in
windows of up to a second; a window in which the reference was slower than in the best one does not count, and
its calls are measured again. What the pace of the machine still does to those that count is taken out of them, see
`nas.latency.measuring.windows`.
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
from nas.latency.measuring.timing import Part, Timing, compared, finished, undrifted
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
    """What one interleaved measurement found.

    Args:
        timings: One per call, by name.
        processor_share: Processor time over wall time; with one thread and nothing else running it is close to
            1, and below it other programs took the rest.
        reference_ms: Latency of the reference during this measurement, over the windows that count; `None`
            where nothing was left to measure.
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
    """Time calls in turn until each is known well enough.

    Args:
        calls: What to time, by name; see `nas.runtimes.Executable.bind`.
        reference: Name and call of the reference block.
        measurement: How finely; the defaults when left out.
        earlier: Stretches measured before, by an interrupted run; their samples count.
        record: Called after each window with it and with all calls that are done by now.
    """
    return _Measurement(dict(calls), reference, measurement or MeasurementSettings(), list(earlier)).run(record)


def warn_if_busy(share: float, threads: int | None) -> None:
    """Log a warning where other programs took part of the processor from a single-threaded measurement."""
    if threads == 1 and share < QUIET_SHARE:
        logger.warning(
            "other programs took %.0f%% of the processor while measuring; latencies are less certain", 100 * (1 - share)
        )


def warn_if_crowded(threads: int | None) -> None:
    """Log a warning where there are more threads to measure with than processors that this process may use."""
    allowed = processors()
    if threads is not None and threads > allowed:
        logger.warning(
            "%d threads share the %s that this process may use, and wait for each other: latencies are too long; "
            "allow more processors or measure with --threads %d",
            threads, "one processor" if allowed == 1 else f"{allowed} processors", allowed,
        )  # fmt: skip


@dataclass
class _Measurement:
    """State of one measurement."""

    calls: dict[str, Call]
    reference: tuple[str, Call]
    measurement: MeasurementSettings
    windows: list[Window]
    parts: list[Part] = field(default_factory=list)
    done: dict[str, Timing] = field(default_factory=dict)
    open: dict[str, Call] = field(default_factory=dict)
    reference_due: float = 0.0
    # Any order will do as long as it changes; nobody needs the same one twice.
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
        """The reference in the last windows: detrended with all the others, at the same pace as what was timed."""
        theirs = self.parts[-last:]
        counting = undrifted(theirs, self.measurement) or theirs
        return summarise(np.concatenate([each.detrended.reference_ms for each in counting])).latency_ms

    def _settle(self) -> None:
        """Tell what is done from what is open; a window that shows all before it as drift opens calls again."""
        self.parts = compared(self.calls, self.windows)
        self.done = finished(self.calls, self.parts, self.measurement)
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
        turns = [self.reference[1], *self.open.values()]
        made: list[tuple[int, float]] = []
        began, rounds, lasted = time.perf_counter(), 0, 0.0
        while lasted < MIN_WINDOW_S or (rounds < self.measurement.rounds and lasted < MAX_WINDOW_S):
            self._round(turns, made)
            rounds, lasted = rounds + 1, time.perf_counter() - began
        samples: list[list[float]] = [[] for _ in turns]
        for turn, sample_ms in made:
            samples[turn].append(sample_ms)
        reference_ms, *others_ms = map(tuple, samples)
        return Window(
            self.reference[0],
            reference_ms,
            dict(zip(self.open, others_ms, strict=True)),
            tuple(turn for turn, _ in made),
        )

    def _round(self, turns: Sequence[Call], made: list[tuple[int, float]]) -> None:
        order = list(range(1, len(turns)))
        self.rng.shuffle(order)
        for turn in order:
            if not made or time.perf_counter() >= self.reference_due:
                made.append((0, _timed(turns[0])))
                pause_s = max(REFERENCE_EVERY_S, made[-1][1] / 1e3 / REFERENCE_SHARE)
                self.reference_due = time.perf_counter() + pause_s
            made.append((turn, _timed(turns[turn])))


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
