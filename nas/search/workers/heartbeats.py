"""Heartbeats: which workers of a study live, and an end to the trials of those that fell silent."""

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


class Heartbeats:
    """Coordination of one worker among several, on a database server, whose clock alone counts.

    Args:
        study: The study.
        storage: Its storage.
        timing: Of heartbeats.
    """

    def __init__(self, study: optuna.Study, storage: RetryingStorage, timing: Timing) -> None:
        self.study, self.storage, self.timing = study, storage, timing

    def claim(self, trial: Trial, places: int) -> Outcome:
        """Claim the architecture by the protocol of `claims`."""
        return claim(self.study, trial, places, self.wait)

    @contextlib.contextmanager
    def heartbeat(self, trial: Trial) -> Iterator[None]:
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

    def fail_stale_trials(self) -> None:
        """Fail the trials that have been silent for longer than the grace period.

        Silence counts only while the database is there to be written to: when it returns from a long outage, all
        workers have been silent. Therefore nobody is declared dead until this worker has known it to be in order for
        a whole grace period, which is time enough for all living ones to write.
        """
        if self.storage.undisturbed_s() <= self.timing.grace_s:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(self.study)

    def wait(self, seconds: float) -> None:
        """Wait for others, and free those that died meanwhile."""
        time.sleep(seconds)
        self.fail_stale_trials()

    def without_retries(self) -> contextlib.AbstractContextManager[None]:
        """Wait for no database in the block."""
        return self.storage.without_retries()
