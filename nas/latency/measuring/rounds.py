"""How latency is measured.

Everything that is compared is loaded at once and called in turn, round after round and each round in another
order, so that a slow minute of the machine falls on all alike, and no block runs on caches that its own last call
has filled. Each sample is one call: the clock's resolution (tens of nanoseconds) is far below the shortest block,
and repeating a call flatters small blocks, which inside a network never find their data where they left it.

Between the calls a reference block runs again and again. It is always the same work, so whatever it takes longer
is the machine: another program, another clock rate, a processor that has become hot. Rounds are collected in
stretches of up to a second; a stretch in which the reference was slower than in the best one does not count, and
its calls are measured again. What the pace of the machine still does to those that count is taken out of them, see
`nas.latency.measuring.stretches`.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from nas.files import StrictModel
from nas.latency.measuring.statistics import Summary, summarise
from nas.latency.measuring.stretches import Evened, Stretch, best_levels, evened

logger = logging.getLogger("nas")

Call = Callable[[], object]
Stopped = Literal["precise", "time"]

MIN_STRETCH_S = 0.2
MAX_STRETCH_S = 1.0
MAX_SAMPLES = 1000
REFERENCE_EVERY_S = 0.02
REFERENCE_SHARE = 0.1
WARM_UP_WINDOW = 3
WARM_UP_CHANGE = 0.05
MAX_WARM_UP_ROUNDS = 15
QUIET_SHARE = 0.9


class Protocol(StrictModel):
    """How finely to measure.

    Args:
        rounds: Timed calls of each block, at least.
        interval_percent: A block is done when half the width of its latency's 95% interval is at most this
            share of it, in percent.
        max_seconds: A block is also done when its own calls have taken this long, counted or not, or when there
            have been `MAX_SAMPLES` of them: the shortest blocks would need minutes to fill seconds.
        min_seconds: But never before the rounds it took part in have lasted this long. A machine is a few percent
            faster for some seconds and slower for the next, without anything that would show as drift; what is to
            be compared has to meet both.
        drift_percent: A stretch of rounds counts while the reference block takes at most this much longer than
            in its best stretch.
    """

    rounds: PositiveInt = 30
    interval_percent: PositiveFloat = 1.0
    max_seconds: NonNegativeFloat = 3.0
    min_seconds: NonNegativeFloat = 20.0
    drift_percent: NonNegativeFloat = 10.0


@dataclass(frozen=True)
class Timing:
    """What was found of one call.

    Args:
        summary: Latency and spread over the samples that count.
        stopped: Why measuring ended: the interval was narrow enough, or the time was used up.
        drift_percent: How much longer the reference took while they were taken than in its best stretch.
    """

    summary: Summary
    stopped: Stopped
    drift_percent: float

    @property
    def latency_ms(self) -> float:
        """See `Summary`."""
        return self.summary.latency_ms


@dataclass(frozen=True)
class Timings:
    """What one interleaved measurement found.

    Args:
        timings: One per call, by name.
        processor_share: Processor time over wall time; with one thread and nothing else running it is close to
            1, and below it other programs took the rest.
        reference_ms: Latency of the reference during this measurement, over the stretches that count; `None`
            where nothing was left to measure.
    """

    timings: Mapping[str, Timing]
    processor_share: float
    reference_ms: float | None


def measure(
    calls: Mapping[str, Call],
    reference: tuple[str, Call],
    protocol: Protocol | None = None,
    *,
    earlier: Iterable[Stretch] = (),
    record: Callable[[Stretch, Mapping[str, Timing]], None] | None = None,
) -> Timings:
    """Time calls in turn until each is known well enough.

    Args:
        calls: What to time, by name; see `nas.runtimes.Executable.bind`.
        reference: Name and call of the reference block.
        protocol: How finely; the defaults when left out.
        earlier: Stretches measured before, by an interrupted run; their samples count.
        record: Called after each stretch with it and with all calls that are done by now.
    """
    return _Measurement(dict(calls), reference, protocol or Protocol(), list(earlier)).run(record)


def timings(names: Iterable[str], stretches: Sequence[Stretch], protocol: Protocol) -> dict[str, Timing]:
    """What the stretches tell of those calls that need no more measuring."""
    names = list(names)
    return _settled(names, _parts(names, stretches), protocol)


def warn_if_busy(share: float, threads: int | None) -> None:
    """Log a warning where other programs took part of the processor from a single-threaded measurement."""
    if threads == 1 and share < QUIET_SHARE:
        logger.warning(
            "other programs took %.0f%% of the processor while measuring; latencies are less certain", 100 * (1 - share)
        )


@dataclass
class _Measurement:
    """State of one measurement."""

    calls: dict[str, Call]
    reference: tuple[str, Call]
    protocol: Protocol
    stretches: list[Stretch]
    parts: list[_Part] = field(default_factory=list)
    done: dict[str, Timing] = field(default_factory=dict)
    open: dict[str, Call] = field(default_factory=dict)
    reference_due: float = 0.0
    # Any order will do as long as it changes; nobody needs the same one twice.
    rng: random.Random = field(default_factory=random.Random)

    def run(self, record: Callable[[Stretch, Mapping[str, Timing]], None] | None) -> Timings:
        self._settle()
        if not self.open:
            return Timings(self.done, 1.0, None)
        with _no_garbage_collection():
            self._warm_up()
            known = len(self.stretches)
            wall, processor = time.perf_counter(), time.process_time()
            while self.open:
                stretch = self._stretch()
                self.stretches.append(stretch)
                self._settle()
                if record is not None:
                    record(stretch, self.done)
            share = (time.process_time() - processor) / (time.perf_counter() - wall)
        return Timings(self.done, share, self._reference_ms(len(self.stretches) - known))

    def _reference_ms(self, last: int) -> float:
        """The reference in the last stretches: evened with all the others, at the same pace as what was timed."""
        parts = self.parts[-last:]
        counting = [each for each in parts if each.drift <= self.protocol.drift_percent / 100] or parts
        return summarise(np.concatenate([each.evened.reference_ms for each in counting])).latency_ms

    def _settle(self) -> None:
        """Tell what is done from what is open; a stretch that shows all before it as drift opens calls again."""
        self.parts = _parts(self.calls, self.stretches)
        self.done = _settled(self.calls, self.parts, self.protocol)
        self.open = {name: call for name, call in self.calls.items() if name not in self.done}

    def _warm_up(self) -> None:
        """Call everything until rounds have stopped becoming faster."""
        totals_ms: list[float] = []
        while len(totals_ms) < MAX_WARM_UP_ROUNDS:
            totals_ms.append(sum(_timed(call) for call in (self.reference[1], *self.open.values())))
            before, after = totals_ms[:-WARM_UP_WINDOW][-WARM_UP_WINDOW:], totals_ms[-WARM_UP_WINDOW:]
            if len(before) == WARM_UP_WINDOW and min(after) >= (1 - WARM_UP_CHANGE) * min(before):
                return

    def _stretch(self) -> Stretch:
        turns = [self.reference[1], *self.open.values()]
        made: list[tuple[int, float]] = []
        began, rounds, lasted = time.perf_counter(), 0, 0.0
        while lasted < MIN_STRETCH_S or (rounds < self.protocol.rounds and lasted < MAX_STRETCH_S):
            self._round(turns, made)
            rounds, lasted = rounds + 1, time.perf_counter() - began
        samples: list[list[float]] = [[] for _ in turns]
        for turn, sample_ms in made:
            samples[turn].append(sample_ms)
        reference_ms, *others_ms = map(tuple, samples)
        return Stretch(
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


class _Part(NamedTuple):
    """A stretch that a call took part in."""

    stretch: Stretch
    evened: Evened
    drift: float


def _parts(names: Collection[str], stretches: Sequence[Stretch]) -> list[_Part]:
    """The stretches that any of these calls took part in; all are compared with each other."""
    best_ms = best_levels(stretches)
    theirs = [each for each in stretches if not each.samples_ms.keys().isdisjoint(names)]
    drift = [each.level_ms / best_ms[each.reference] - 1 for each in theirs]
    return [_Part(*each) for each in zip(theirs, evened(theirs), drift, strict=True)]


def _settled(names: Iterable[str], parts: Sequence[_Part], protocol: Protocol) -> dict[str, Timing]:
    found = {
        name: _timing(name, [each for each in parts if name in each.evened.samples_ms], protocol) for name in names
    }
    return {name: result for name, result in found.items() if result is not None}


def _timing(name: str, parts: Sequence[_Part], protocol: Protocol) -> Timing | None:
    if not parts or sum(each.stretch.seconds for each in parts) < protocol.min_seconds:
        return None
    counting = [each for each in parts if each.drift <= protocol.drift_percent / 100]
    if sum(len(each.stretch.samples_ms[name]) for each in counting) >= protocol.rounds:
        found = _found(name, counting, "precise")
        if found.summary.interval_percent <= protocol.interval_percent:
            return found
    spent_s = sum(sum(each.stretch.samples_ms[name]) for each in parts) / 1e3
    number = sum(len(each.stretch.samples_ms[name]) for each in parts)
    if number < protocol.rounds or (spent_s < protocol.max_seconds and number < MAX_SAMPLES):
        return None
    # All of a call's time may have fallen into drift: then its samples stand, and the drift is told beside them.
    return _found(name, counting or parts, "time")


def _found(name: str, parts: Sequence[_Part], stopped: Stopped) -> Timing:
    samples_ms = np.concatenate([each.evened.samples_ms[name] for each in parts])
    return Timing(summarise(samples_ms), stopped, 100 * float(np.median([each.drift for each in parts])))


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
