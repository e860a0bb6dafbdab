"""A storage on a server that waits while the server is away.

Every access of Optuna goes through the methods of a storage, so waiting is added there, around each of them, and
nothing above needs to know. Each is safe to repeat when its acknowledgement got lost:

- Reads change nothing; attributes are set to the same value again; a parameter that is there already is left alone.
- A result told twice finds its trial finished with these values, which is what was wanted.
- A trial created twice leaves one behind that nobody claims; it does not count and nobody waits for it.
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
"""Pauses double from one to the other: a restart is over soon, and a long outage needs no hurry."""


def is_outage(error: BaseException | None) -> bool:
    """Whether an access failed because of the connection and may be repeated, rather than for what it said."""
    if isinstance(error, StorageInternalError):
        return is_outage(error.__cause__)
    # PendingRollbackError: Optuna goes on in the same transaction, after an error that it takes for another.
    return isinstance(error, OperationalError | InterfaceError | PendingRollbackError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


class RetryingStorage(_CachedStorage):
    """An Optuna storage whose every access is repeated, with growing pauses, while the connection fails.

    Args:
        backend: The storage of a database server.
        outage_s: How long to wait in all; then the last error is raised.
        reason: Tells in one line, without secrets, what an error says.
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
        """For how long there has been no trouble with the connection, as far as this process knows."""
        return time.monotonic() - self._last_trouble

    @contextlib.contextmanager
    def without_retries(self) -> Iterator[None]:
        """Wait for nothing in this block."""
        before, self.outage_s = self.outage_s, 0.0
        try:
            yield
        finally:
            self.outage_s = before

    def retrying(self, access: Callable[[], Result]) -> Result:
        """Repeat an access until it gets through.

        Raises:
            StorageInternalError: It did not, for `outage_s`.
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
            # Not all workers at once, when the server comes back.
            time.sleep(pause_s * random.uniform(0.5, 1))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def try_heartbeat(self, trial_id: int) -> None:
        """Write that the owner of a trial is alive; trouble is noted, and nothing is repeated."""
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
        """Note that the database is away; the first to notice says so."""
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
        """As in Optuna; a trial that has ended just so already is no error."""
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


# All that Optuna calls a storage, whichever version of it: a list by hand would miss what is added.
for _name in BaseStorage.__abstractmethods__ | BaseHeartbeat.__abstractmethods__:
    if _name not in vars(RetryingStorage):
        setattr(RetryingStorage, _name, _repeated(_name))
