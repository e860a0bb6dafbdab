"""Where studies live: SQLite by default, any storage URL of Optuna otherwise."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nas.errors import ConfigError, StorageError
from nas.search.pareto import Direction

IDENTITY = "identity"
"""Study attribute: what must not change while a study goes on."""

LOCK_TIMEOUT_S = 60


def storage_url(storage: str | Path) -> str:
    """A path becomes the URL of a SQLite file; a URL stays as it is."""
    text = str(storage)
    return text if "://" in text else f"sqlite:///{text}"


@contextlib.contextmanager
def storage_errors(storage: str | Path) -> Iterator[None]:
    """Turn what a database has to say into a `StorageError` that names the storage, without its password."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise StorageError(f"the storage of the study cannot be used: {reason}", where=_shown(storage)) from error


@contextlib.contextmanager
def writable_study(
    storage: str | Path,
    name: str,
    *,
    directions: tuple[Direction, Direction],
    metric_names: tuple[str, str],
    identity: Mapping[str, Any],
) -> Iterator[optuna.Study]:
    """Create a study, or open it to go on with it.

    A trial that was left running in a SQLite file belongs to a process that is gone, because only one at a
    time may search there; it is marked as failed.

    Args:
        storage: Path of a SQLite file, or a storage URL.
        name: Name of the study.
        directions: Of quality and latency.
        metric_names: Likewise.
        identity: Plain data that has to be equal whenever the study is continued.

    Raises:
        StorageError: The storage cannot be opened, or another process is searching in the SQLite file.
        ConfigError: The study belongs to another space, table, metric or budget.
    """
    with storage_errors(storage), _only_user(storage), _connection(storage) as connection:
        study = optuna.create_study(
            study_name=name, storage=connection, directions=list(directions), load_if_exists=True
        )
        _claim(study, identity, metric_names, where=f"{_shown(storage)}: study {name}")
        if _database(storage) is not None:
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
        yield study


@contextlib.contextmanager
def readable_study(storage: str | Path, name: str) -> Iterator[optuna.Study]:
    """Open a study to read it.

    Raises:
        StorageError: The storage cannot be opened, or holds no such study; the message lists those it holds.
    """
    database = _database(storage)
    if database is not None and not database.is_file():
        raise StorageError("no such file", where=database, hint="`nas search` makes it")
    with storage_errors(storage), _connection(storage) as connection:
        names = optuna.get_all_study_names(connection)
        if name not in names:
            known = ", ".join(sorted(names)) or "none"
            raise StorageError(f"no study {name!r} (known: {known})", where=_shown(storage))
        yield optuna.load_study(study_name=name, storage=connection)


class _SQLite(sqlite3.Connection):
    """A connection that does not wait for the disk after each of the many small writes of a trial.

    With a write-ahead log a killed process loses nothing, readers and the writer do not block each other, and
    a power cut costs at most the last moments, not the file.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode=WAL").close()
        self.execute("PRAGMA synchronous=NORMAL").close()


@contextlib.contextmanager
def _connection(storage: str | Path) -> Iterator[RDBStorage]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage_url(storage)
    if url.startswith("redis"):
        raise StorageError("redis is no study storage", where=_shown(storage), hint="use PostgreSQL or SQLite")
    sqlite = {"connect_args": {"timeout": LOCK_TIMEOUT_S, "factory": _SQLite}} if url.startswith("sqlite") else None
    connection = RDBStorage(url, engine_kwargs=sqlite)
    try:
        yield connection
    finally:
        connection.remove_session()
        connection.engine.dispose()


def _claim(study: optuna.Study, identity: Mapping[str, Any], metric_names: tuple[str, str], *, where: str) -> None:
    """Write the identity into a new study, or compare it with that of an old one."""
    stored = study.user_attrs.get(IDENTITY)
    if stored is None and study.get_trials(deepcopy=False):
        raise ConfigError("was not made by `nas search`", where=where, hint="use another study name")
    if stored is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(metric_names))
        study.set_user_attr(IDENTITY, dict(identity))
        return
    changed = [key.replace("_", " ") for key, value in identity.items() if stored.get(key) != value]
    if changed:
        raise ConfigError(f"was made with another {' and another '.join(changed)}", where=where,
                          hint="use another study name, or go on with what the study was made with")  # fmt: skip


@contextlib.contextmanager
def _only_user(storage: str | Path) -> Iterator[None]:
    """Hold the SQLite file for this process; the system lets go of it when the process ends, however it ends."""
    database = _database(storage)
    if database is None:
        yield
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        file = database.with_name(f".{database.name}.lock").open("w")
    except OSError as error:
        raise StorageError(f"cannot write: {error.strerror}", where=database) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                "another process is searching in this SQLite file, which serves one at a time",
                where=database,
                hint="wait for it, or keep the study in PostgreSQL (--storage postgresql+psycopg://...)",
            ) from error
        yield


def _database(storage: str | Path) -> Path | None:
    """The file of a SQLite storage; `None` for a server or memory."""
    try:
        url = sqlalchemy.make_url(storage_url(storage))
    except sqlalchemy.exc.ArgumentError as error:
        raise StorageError("not a storage URL", where=str(storage), hint="e.g. sqlite:///study.db") from error
    in_file = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    return Path(str(url.database)) if in_file else None


def _shown(storage: str | Path) -> str:
    database = _database(storage)
    if database is not None:
        return str(database)
    return sqlalchemy.make_url(storage_url(storage)).render_as_string(hide_password=True)
