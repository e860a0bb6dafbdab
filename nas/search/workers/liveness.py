"""Which workers live: heartbeats while one is busy, and an end to the trials of those that fell silent."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial

from nas.search.workers.patience import PatientStorage
from nas.search.workers.timing import Timing


class Liveness(Protocol):
    """How the workers of a study know of each other."""

    def beating(self, trial: Trial) -> contextlib.AbstractContextManager[None]:
        """Show, while the block runs, that the trial has an owner."""

    def free_the_dead(self) -> None:
        """Fail the trials whose owners died, so that another worker may take them over."""

    def pause(self, seconds: float) -> None:
        """Wait for others, and free those that died meanwhile."""

    def impatient(self) -> contextlib.AbstractContextManager[None]:
        """Wait for no database in the block."""


def liveness(study: optuna.Study, timing: Timing) -> Liveness:
    """What suits the storage of a study."""
    storage = study._storage
    return Heartbeats(study, storage, timing) if isinstance(storage, PatientStorage) else Alone()


class Alone:
    """The only worker: the storage is a SQLite file, which is locked."""

    def beating(self, trial: Trial) -> contextlib.AbstractContextManager[None]:
        """Nothing: nobody is there to see it."""
        return contextlib.nullcontext()

    def free_the_dead(self) -> None:
        """Nothing: nobody else can have died."""

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def impatient(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: a file is there or it is not."""
        return contextlib.nullcontext()


class Heartbeats:
    """One worker of several, on a database server, whose clock alone counts.

    Args:
        study: The study.
        storage: Its storage.
        timing: Of heartbeats.
    """

    def __init__(self, study: optuna.Study, storage: PatientStorage, timing: Timing) -> None:
        self.study, self.storage, self.timing = study, storage, timing

    @contextlib.contextmanager
    def beating(self, trial: Trial) -> Iterator[None]:
        """Write heartbeats from a thread.

        The first one is there before the block begins: a trial without any is never taken for dead. One that cannot
        be written is left out; the score goes on, and the next one may get through.
        """
        self.storage.record_heartbeat(trial._trial_id)
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial._trial_id, stop), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            # Not for longer: with the database away, it may be waiting for a connection.
            thread.join(timeout=1)

    def _beat(self, trial_id: int, stop: threading.Event) -> None:
        while not stop.wait(self.timing.heartbeat_s):
            self.storage.try_heartbeat(trial_id)
        self.storage.remove_session()

    def free_the_dead(self) -> None:
        """Fail the trials that have been silent for longer than the grace period.

        Silence counts only while the database is there to be written to: when it returns from a long outage, all
        workers have been silent. Therefore nobody is declared dead until this worker has known it to be in order for
        a whole grace period, which is time enough for all living ones to write.
        """
        if self.storage.quiet_s() <= self.timing.grace_s:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)

    def pause(self, seconds: float) -> None:
        """Wait for others, and free those that died meanwhile."""
        time.sleep(seconds)
        self.free_the_dead()

    def impatient(self) -> contextlib.AbstractContextManager[None]:
        """Wait for no database in the block."""
        return self.storage.impatient()
