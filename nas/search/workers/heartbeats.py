"""Heartbeats of workers on a server, and failing the trials of workers whose heartbeats have stopped."""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Iterator

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial

from nas.search.storage.retrying import RetryingStorage
from nas.search.timing import Timing
from nas.search.workers.claims import claim
from nas.search.workers.coordination import Outcome
from nas.search.workers.owners import OWNER, worker_name


class Heartbeats:
    """Coordination of one worker among several, on a database server. All times are by the server's clock.

    Args:
        study: The study.
        storage: Its storage.
        timing: Intervals of heartbeats.
    """

    def __init__(self, study: optuna.Study, storage: RetryingStorage, timing: Timing) -> None:
        self.study, self.storage, self.timing = study, storage, timing

    def claim(self, trial: Trial, places: int) -> Outcome:
        """Claim the architecture by the protocol of `claims`."""
        return claim(self.study, trial, places, self.wait)

    @contextlib.contextmanager
    def heartbeat(self, trial: Trial) -> Iterator[None]:
        """Write heartbeats from a thread.

        The first heartbeat is written before the block begins, because a trial without any never counts as dead. A
        heartbeat that cannot be written is skipped.
        """
        self.storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr(OWNER, worker_name())
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(trial._trial_id, stop), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            # With a timeout, because the thread may be waiting for a connection.
            thread.join(timeout=1)

    def _beat(self, trial_id: int, stop: threading.Event) -> None:
        while not stop.wait(self.timing.heartbeat_s):
            self.storage.try_heartbeat(trial_id)
        self.storage.remove_session()

    def fail_stale_trials(self) -> None:
        """Fail the trials that have been silent for longer than the grace period.

        After a long outage of the database, all workers have been silent. So nothing is failed until this worker has
        seen the database work for a whole grace period, in which all living workers write heartbeats.
        """
        if self.storage.undisturbed_s() <= self.timing.grace_s:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)

    def wait(self, seconds: float) -> None:
        """Sleep, then fail the trials of workers that died."""
        time.sleep(seconds)
        self.fail_stale_trials()

    def without_retries(self) -> contextlib.AbstractContextManager[None]:
        """Do not retry accesses to the database in the block."""
        return self.storage.without_retries()
