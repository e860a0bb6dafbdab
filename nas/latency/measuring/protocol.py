"""When a call is known well enough, and what is known of it then."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from nas.files import StrictModel
from nas.latency.measuring.statistics import Summary, summarise
from nas.latency.measuring.stretches import Evened, Stretch, best_levels, evened

Stopped = Literal["precise", "time"]

MAX_SAMPLES = 1000

MAX_ROUNDS = 10**9


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

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = 30
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


def timings(names: Iterable[str], stretches: Sequence[Stretch], protocol: Protocol) -> dict[str, Timing]:
    """What the stretches tell of those calls that need no more measuring."""
    names = list(names)
    return settled(names, compared(names, stretches), protocol)


class Part(NamedTuple):
    """A stretch, its calls at the pace of the quiet machine, and how much longer the reference took than at best."""

    stretch: Stretch
    evened: Evened
    drift: float


def compared(names: Collection[str], stretches: Sequence[Stretch]) -> list[Part]:
    """The stretches that any of these calls took part in; all are compared with each other."""
    best_ms = best_levels(stretches)
    theirs = [each for each in stretches if not each.samples_ms.keys().isdisjoint(names)]
    drift = [each.level_ms / best_ms[each.reference] - 1 for each in theirs]
    return [Part(*each) for each in zip(theirs, evened(theirs), drift, strict=True)]


def undrifted(parts: Sequence[Part], protocol: Protocol) -> list[Part]:
    """The parts that count."""
    return [each for each in parts if each.drift <= protocol.drift_percent / 100]


def settled(names: Iterable[str], parts: Sequence[Part], protocol: Protocol) -> dict[str, Timing]:
    """What is known of those calls that need no more measuring."""
    found = {
        name: _timing(name, [each for each in parts if name in each.evened.samples_ms], protocol) for name in names
    }
    return {name: result for name, result in found.items() if result is not None}


def _timing(name: str, parts: Sequence[Part], protocol: Protocol) -> Timing | None:
    if not parts or sum(each.stretch.seconds for each in parts) < protocol.min_seconds:
        return None
    counting = undrifted(parts, protocol)
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


def _found(name: str, parts: Sequence[Part], stopped: Stopped) -> Timing:
    samples_ms = np.concatenate([each.evened.samples_ms[name] for each in parts])
    return Timing(summarise(samples_ms), stopped, 100 * float(np.median([each.drift for each in parts])))
