"""A storage that retries while its server does not answer.

Every access of Optuna is a method of a storage, so each of these methods is wrapped in retries. Each access is safe to
repeat if its acknowledgement was lost:

- Reads change nothing. Attributes are set to the same value again. A parameter that is set already stays as it is.
- A result that is told twice finds its trial finished with the same values, which is no error.
- A trial that is created twice leaves one trial without a claim, which does not count and for which nobody waits.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from nas.search.storage.address import reason_of

logger = logging.getLogger("nas")

Result = TypeVar("Result")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""Pauses double from the first to the longest: restarts are short, and long outages need few attempts."""


def is_outage(error: BaseException | None) -> bool:
    """Whether an access failed because of the connection, so that it may be repeated."""
    if isinstance(error, StorageInternalError):
        return is_outage(error.__cause__)
    # PendingRollbackError: Optuna continues in the same transaction after an error that it misinterprets.
    return isinstance(error, OperationalError | InterfaceError | PendingRollbackError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


class RetryingStorage(_CachedStorage):
    """An Optuna storage that repeats every access, with growing pauses, while the connection fails.

    Args:
        backend: The storage of a database server.
        outage_s: Seconds to wait in all; after that, the last error is raised.
        reason: Returns the message of an error, in one line without secrets.
    """

    def __init__(
        self, backend: RDBStorage, outage_s: float, reason: Callable[[BaseException], str] = reason_of
    ) -> None:
        super().__init__(backend)
        self.outage_s, self.reason = outage_s, reason
        self._state = threading.Lock()
        self._away = False
        self._last_trouble = time.monotonic()

    def undisturbed_s(self) -> float:
        """Seconds without a known problem of the connection."""
        return time.monotonic() - self._last_trouble

    @contextlib.contextmanager
    def without_retries(self) -> Iterator[None]:
        """Do not retry in this block."""
        before, self.outage_s = self.outage_s, 0.0
        try:
            yield
        finally:
            self.outage_s = before

    def retrying(self, access: Callable[[], Result]) -> Result:
        """Repeat an access until it succeeds.

        Raises:
            StorageInternalError: It failed for `outage_s`.
        """
        pause_s, until = FIRST_PAUSE_S, time.monotonic() + self.outage_s
        while True:
            try:
                result = access()
            except Exception as error:
                if not is_outage(error) or time.monotonic() + pause_s > until:
                    raise
                self.note_outage(error)
            else:
                self._returned()
                return result
            # A random share, so that not all workers return at the same moment.
            time.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def try_heartbeat(self, trial_id: int) -> None:
        """Write a heartbeat for a trial, without retries; a failure is only noted."""
        try:
            self._backend.record_heartbeat(trial_id)
        except (SQLAlchemyError, StorageInternalError) as error:
            self.note_outage(error)
        else:
            self._returned()

    def remove_session(self) -> None:
        """Give back the connection of this thread."""
        self._backend.remove_session()

    def note_outage(self, error: BaseException) -> None:
        """Note that the database does not answer, and log it once per outage."""
        with self._state:
            self._last_trouble = time.monotonic()
            first, self._away = not self._away, True
        if first:
            logger.warning(
                "the database of the study is away (%s); waiting for it, %g s at most",
                self.reason(error),
                self.outage_s,
            )

    def _returned(self) -> None:
        with self._state:
            if not self._away:
                return
            self._away, self._last_trouble = False, time.monotonic()
        logger.info("the database of the study is back")

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """End a trial. A trial that has the same state and values already is no error."""
        try:
            return self.retrying(lambda: self._backend.set_trial_state_values(trial_id, state, values))
        except UpdateFinishedTrialError:
            told = self.get_trial(trial_id)
            if (told.state, told.values) != (state, None if values is None else list(values)):
                raise
            return True


def _repeated(name: str) -> Callable[..., Any]:
    access = getattr(_CachedStorage, name)

    @functools.wraps(access)
    def method(self: RetryingStorage, *args: Any, **kwargs: Any) -> Any:
        return self.retrying(lambda: access(self, *args, **kwargs))

    return cast(Callable[..., Any], method)


# All methods of a storage in the installed version of Optuna.
for _name in BaseStorage.__abstractmethods__ | BaseHeartbeat.__abstractmethods__:
    if _name not in vars(RetryingStorage):
        setattr(RetryingStorage, _name, _repeated(_name))
