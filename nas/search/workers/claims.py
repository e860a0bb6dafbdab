"""Who scores an architecture, when several workers propose it at the same time.

A storage of Optuna can be written to and read; it cannot compare and write in one step. So workers agree by a protocol
over the numbers of their trials, which are unique. A worker

1. writes its *claim*: the architecture, and that it wants to score it;
2. reads all trials, later than that, and decides (`decide`):

   - Another trial has scored this architecture, or is scoring it: yield.
   - One of a *lower* number claims it and has not decided yet: yield.
   - One of a *higher* number claims it and has not decided yet: read again, until it has decided or died.
   - Otherwise score it, and write that first.

*No architecture is scored twice.* Suppose two trials score the same one. Each decided by one last reading, and each
wrote its claim before that. Take the one that read later, x. It read the claim of the other, y, which was then decided,
so x would have yielded; or undecided and lower, so x would have yielded; or undecided and higher, so x would not have
decided yet. Whatever order writes and reads come in, each case excludes that x scores.

*Nobody waits for ever.* A worker waits for higher numbers only, so there is no circle, and the highest never waits. A
worker that died is freed by the lack of its heartbeat, which it writes before its claim; its trial then counts for
nothing. It may be that all yield and nobody scores: to one that then died, or yielded in turn for lack of a place. The
architecture is unknown after that, and taken over or proposed again.

*Places.* A study scores so many architectures. The same argument keeps their number: those decided and those undecided
and lower take the places; where these are all taken, a trial yields; where undecided higher ones might take the
last, it reads again. Suppose too many are scored; the one that read last has seen the claims of all others, and would
not have gone on. Places of workers that died are kept for whoever takes over their architectures.

This assumes that a living worker is not taken for dead. One that is cut off for longer than the grace period is; its
architecture may then be scored again, and one of the two results is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import optuna
from optuna.trial import FrozenTrial, Trial

from nas.search.workers.coordination import Decision, Outcome
from nas.search.workers.snapshot import CLAIM, CLAIMED, SCORING, broken_off, counts, is_decided, key

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
"""Between readings: the other needs milliseconds to decide, unless it died."""


def claim(study: optuna.Study, trial: Trial, places: int, wait: Callable[[float], object]) -> Outcome:
    """Claim the architecture of a trial, which its attributes name, and find out whether to score it.

    Args:
        study: The study.
        trial: A running trial with its architecture among its attributes, and with a heartbeat where others look.
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
    """The decision of one trial, from what it has read after its claim; pure, so that it can be reasoned about."""
    trials = list(trials)
    mine = key(next(trial for trial in trials if trial.number == number))
    rivals = [trial for trial in trials if counts(trial) and trial.number != number]
    certain = [trial for trial in rivals if is_decided(trial) or trial.number < number]
    open_ones = [trial for trial in rivals if not is_decided(trial) and trial.number > number]
    same = [trial for trial in certain if key(trial) == mine]
    if same:
        # The one that scores, where it is known already, is the better reference.
        return Outcome(Decision.YIELD, max(same, key=is_decided))
    taken = {key(trial) for trial in certain} | _reserved(trials, mine)
    undecided = {key(trial) for trial in open_ones} - taken
    if len(taken) >= places:
        return Outcome(Decision.NO_PLACE)
    if mine in undecided or len(taken | undecided) >= places:
        return Outcome(Decision.WAIT)
    return Outcome(Decision.SCORE)


def _reserved(trials: Iterable[FrozenTrial], mine: str) -> set[str]:
    """Architectures to be taken over; none to one that takes over, lest such trials wait for each other's places."""
    left = {key(trial) for trial in trials if broken_off(trial)}
    return set() if mine in left else left
