"""The protocol by which workers agree on who scores an architecture.

A storage of Optuna can be read and written, but cannot compare and write in one step. So workers agree by the numbers
of their trials, which are unique. A worker

1. writes its *claim*: an attribute of its trial, which names the architecture;
2. then reads all trials, and decides (`decide`):

   - Another trial has scored this architecture, or is scoring it: yield.
   - A trial of a *lower* number claims it and is undecided: yield.
   - A trial of a *higher* number claims it and is undecided: read again, until it has decided or died.
   - Otherwise write that the architecture is being scored, and score it.

*No architecture is scored twice.* Suppose that two trials score the same one. Each decided by its last read, and
wrote its claim before. Let x be the trial that read later. It read the claim of the other trial, y. If y was decided,
x yields. If y was undecided and lower, x yields. If y was undecided and higher, x does not decide yet. In no case
does x score.

*Nobody waits forever.* A worker waits only for higher numbers, so there is no circle, and the highest number never
waits. A worker writes a heartbeat before its claim. If it dies, the heartbeats stop, and its trial no longer counts.
All workers may yield, if the one they yield to dies or finds no place. The architecture is then taken over or
proposed again.

*Places.* A study scores a fixed number of architectures, its places. Decided trials, and undecided trials of lower
numbers, take places. If all are taken, a trial yields. If undecided trials of higher numbers might take the last
place, it reads again. Suppose that too many are scored: the trial that read last has seen the claims of all others,
so it would have yielded. Places of dead workers are reserved for the workers that take over their architectures.

This assumes that no living worker counts as dead. A worker that is cut off for longer than the grace period does. Its
architecture may then be scored again, and one of the two results is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import optuna
from optuna.trial import FrozenTrial, Trial

from nas.search.workers.coordination import Decision, Outcome
from nas.search.workers.snapshot import CLAIM, CLAIMED, SCORING, broken_off, counts, is_decided, key

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
"""Pauses between two reads. The other worker decides within milliseconds, unless it died."""


def claim(study: optuna.Study, trial: Trial, places: int, wait: Callable[[float], object]) -> Outcome:
    """Claim the architecture of a trial, which its attributes name, and find out whether to score it.

    Args:
        study: The study.
        trial: A running trial with its architecture among its attributes, and with a heartbeat.
        places: Distinct architectures that the study may score in all.
        wait: Called with a number of seconds while other workers decide.
    """
    trial.set_user_attr(CLAIM, CLAIMED)
    pause_s = FIRST_PAUSE_S
    while (outcome := decide(trial.number, study.get_trials(deepcopy=False), places)).decision is Decision.WAIT:
        wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    if outcome.decision is Decision.SCORE:
        trial.set_user_attr(CLAIM, SCORING)
    return outcome


def decide(number: int, trials: Iterable[FrozenTrial], places: int) -> Outcome:
    """The decision of one trial, from the trials that it has read after its claim; a pure function."""
    trials = list(trials)
    mine = key(next(trial for trial in trials if trial.number == number))
    rivals = [trial for trial in trials if counts(trial) and trial.number != number]
    certain = [trial for trial in rivals if is_decided(trial) or trial.number < number]
    open_ones = [trial for trial in rivals if not is_decided(trial) and trial.number > number]
    same = [trial for trial in certain if key(trial) == mine]
    if same:
        # A decided trial is the better reference.
        return Outcome(Decision.YIELD, max(same, key=is_decided))
    taken = {key(trial) for trial in certain} | _reserved(trials, mine)
    undecided = {key(trial) for trial in open_ones} - taken
    if len(taken) >= places:
        return Outcome(Decision.NO_PLACE)
    if mine in undecided or len(taken | undecided) >= places:
        return Outcome(Decision.WAIT)
    return Outcome(Decision.SCORE)


def _reserved(trials: Iterable[FrozenTrial], mine: str) -> set[str]:
    """Architectures to be taken over; none if this trial takes one over, so that trials do not block each other."""
    left = {key(trial) for trial in trials if broken_off(trial)}
    return set() if mine in left else left
