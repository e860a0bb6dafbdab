"""Sharing a second scoring among processes: who scores which architecture.

The scores are attributes of the searched study. Who is scoring what is kept in a study of its own, with a trial for
each attempt, so that the protocol of `claims` and the heartbeats of a search apply to it. Only running attempts bar
others. A finished one leaves its score, or its failure, which the next run may try again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

import optuna
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.search.storage.contents import ARCHITECTURE, WITHDRAWN
from nas.search.storage.retrying import RetryingStorage
from nas.search.timing import Timing
from nas.search.workers.asking import as_optimize_loop
from nas.search.workers.coordination import Decision
from nas.search.workers.heartbeats import Heartbeats
from nas.search.workers.snapshot import RELEASED, broken_off, counts, key
from nas.space import Architecture

PLACES = 10**9
"""No limit on how many architectures are scored."""

FAILURE = "failure"
"""Trial attribute: why scoring failed."""


@dataclass(frozen=True)
class Attempts:
    """What other processes do and have done.

    Args:
        taken: Ids of architectures that are being scored.
        failed: Reasons of failures since this process began, by id of the architecture.
        deaths: Processes that died while they scored an architecture, since its last result, by its id.
    """

    taken: frozenset[str] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)
    deaths: Mapping[str, int] = field(default_factory=dict)


class Attempt:
    """An attempt to score an architecture, which only this process makes at this time."""

    def end(self, score: float) -> None:
        """Note that it has a score, which is stored already."""

    def fail(self, failure: str) -> None:
        """Note that it has failed."""


class Shares(Protocol):
    """How processes share architectures to score."""

    def look(self) -> Attempts:
        """Look at the others, and free what the dead were scoring."""

    def attempt(self, architecture: Architecture) -> contextlib.AbstractContextManager[Attempt | None]:
        """Take an architecture; `None` if another process is faster."""

    def wait(self) -> None:
        """Wait before the next look."""


class Unshared:
    """The shares of the only process: the storage is a SQLite file, which is locked."""

    def look(self) -> Attempts:
        """Nobody else does anything."""
        return Attempts()

    def attempt(self, architecture: Architecture) -> contextlib.AbstractContextManager[Attempt | None]:
        """Take any architecture."""
        return contextlib.nullcontext(Attempt())

    def wait(self) -> None:
        """Do nothing: there is nobody to wait for."""


class SharedAttempts:
    """The shares of one process among several, on a database server.

    Args:
        study: The study of the attempts, as of `storage.studies.second_scoring`.
        timing: Intervals of heartbeats, and of looks at the others.
    """

    def __init__(self, study: optuna.Study, timing: Timing) -> None:
        self.study, self.timing = study, timing
        self.coordination = Heartbeats(study, cast(RetryingStorage, study._storage), timing)
        self._before = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}

    def look(self) -> Attempts:
        """Look at the others, and free what the dead were scoring."""
        self.coordination.fail_stale_trials()
        trials = [trial for trial in self.study.get_trials(deepcopy=False) if ARCHITECTURE in trial.user_attrs]
        taken = frozenset(key(trial) for trial in trials if counts(trial))
        recent = [trial for trial in trials if trial.number not in self._before]
        failed = {key(trial): str(trial.user_attrs[FAILURE]) for trial in recent if FAILURE in trial.user_attrs}
        return Attempts(taken, failed, _deaths(trials))

    @contextlib.contextmanager
    def attempt(self, architecture: Architecture) -> Iterator[Attempt | None]:
        """Take an architecture by the protocol of `claims`; `None` if another process is faster."""
        with as_optimize_loop(self.study):
            trial = self.study.ask()
        attempt = _Told(self.study, trial)
        try:
            trial.set_user_attr(ARCHITECTURE, architecture.to_dict())
            with self.coordination.heartbeat(trial):
                outcome = self.coordination.claim(trial, PLACES)
                yield attempt if outcome.decision is Decision.SCORE else None
        except BaseException:
            with self.coordination.without_retries(), contextlib.suppress(SQLAlchemyError, OptunaError):
                attempt.tell({RELEASED: True}, TrialState.FAIL)
            raise
        attempt.tell({WITHDRAWN: True}, TrialState.FAIL)

    def wait(self) -> None:
        """Wait before the next look."""
        self.coordination.wait(self.timing.poll_s)


class _Told(Attempt):
    """An attempt that ends as a trial of the study."""

    def __init__(self, study: optuna.Study, trial: Trial) -> None:
        self.study, self.trial, self.told = study, trial, False

    def end(self, score: float) -> None:
        self.tell({WITHDRAWN: True}, TrialState.COMPLETE, [score])

    def fail(self, failure: str) -> None:
        self.tell({FAILURE: failure, WITHDRAWN: True}, TrialState.FAIL)  # seen before others may take it

    def tell(self, attrs: Mapping[str, object], state: TrialState, values: list[float] | None = None) -> None:
        """End the trial once; one that another process has ended, because heartbeats were missing, stays as it is."""
        if self.told:
            return
        self.told = True
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            for name, value in attrs.items():
                self.trial.set_user_attr(name, value)
            self.study.tell(self.trial, values, state=state, skip_if_finished=True)


def _deaths(trials: list[FrozenTrial]) -> dict[str, int]:
    """Deaths by id of the architecture, since it was scored or failed the last time."""
    deaths: dict[str, int] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        attrs = trial.user_attrs
        if FAILURE in attrs or trial.state == TrialState.COMPLETE:
            deaths.pop(key(trial), None)
        elif broken_off(trial) and RELEASED not in attrs:
            deaths[key(trial)] = deaths.get(key(trial), 0) + 1
    return deaths
