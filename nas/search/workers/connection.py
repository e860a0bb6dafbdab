"""Connections to the databases that hold studies: one SQLite file, or a server that many workers share."""

from __future__ import annotations

import contextlib
import importlib
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import URL

from nas.errors import StorageError
from nas.search.workers.patience import PatientStorage, is_outage
from nas.search.workers.timing import Timing

LOCK_TIMEOUT_S = 60

DRIVERS = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
"""By Python package, what a plain `postgresql://` becomes; the first one installed is taken."""

LIBPQ = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Settings of a PostgreSQL connection, in seconds: a host that vanished is noticed within a minute, not in hours."""

OPENING_ATTEMPTS = 20
"""How often to try to open a database in which other workers are just making the same tables."""


def storage_url(storage: str | Path) -> URL:
    """A path becomes the URL of a SQLite file; a URL is parsed.

    Raises:
        StorageError: It is no URL.
    """
    text = str(storage)
    try:
        return sqlalchemy.make_url(text if "://" in text else f"sqlite:///{text}")
    except sqlalchemy.exc.ArgumentError as error:
        raise StorageError("not a storage URL", where=text, hint="e.g. sqlite:///study.db") from error


def shown(storage: str | Path) -> str:
    """The storage as messages name it: the path of a file, or a URL without its password."""
    database = database_file(storage)
    return str(database) if database is not None else storage_url(storage).render_as_string(hide_password=True)


def database_file(storage: str | Path) -> Path | None:
    """The file of a SQLite storage; `None` for a server or memory."""
    url = storage_url(storage)
    in_file = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    return Path(str(url.database)) if in_file else None


@contextlib.contextmanager
def storage_errors(storage: str | Path) -> Iterator[None]:
    """Turn what a database has to say into a `StorageError` that names the storage, without its password."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ImportError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise StorageError(f"the storage of the study cannot be used: {reason}", where=shown(storage)) from error


@contextlib.contextmanager
def connection(storage: str | Path, timing: Timing) -> Iterator[BaseStorage]:
    """Open a storage; one on a server waits through outages from then on.

    Raises:
        StorageError: There is no such kind of storage, or no driver for it.
        SQLAlchemyError: The database cannot be reached or used now.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    url = storage_url(storage)
    if url.drivername.startswith("redis"):
        raise StorageError("redis is no study storage", where=shown(storage), hint="use PostgreSQL or SQLite")
    sqlite = url.get_backend_name() == "sqlite"
    backend = _open_file(url) if sqlite else _open_server(_with_driver(url, shown(storage)), timing)
    try:
        yield optuna.storages.get_storage(backend) if sqlite else PatientStorage(backend, timing.outage_s)
    finally:
        backend.remove_session()
        backend.engine.dispose()


class _SQLite(sqlite3.Connection):
    """A connection that does not wait for the disk after each of the many small writes of a trial.

    With a write-ahead log a killed process loses nothing, readers and the writer do not block each other, and
    a power cut costs at most the last moments, not the file.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode=WAL").close()
        self.execute("PRAGMA synchronous=NORMAL").close()


def _open_file(url: URL) -> RDBStorage:
    arguments = {"connect_args": {"timeout": LOCK_TIMEOUT_S, "factory": _SQLite}}
    return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=arguments)


def _open_server(url: URL, timing: Timing) -> RDBStorage:
    postgresql = url.get_backend_name() == "postgresql"
    libpq = {key: value for key, value in LIBPQ.items() if key not in url.query} if postgresql else {}
    backend = _with_tables(url, {"pool_pre_ping": True, "connect_args": libpq}, timing)
    # Set here, since asking RDBStorage for it warns that it is experimental.
    backend.heartbeat_interval = timing.heartbeat_s
    if postgresql:
        _use_utc(backend.engine)
    return backend


def _with_tables(url: URL, arguments: dict[str, Any], timing: Timing) -> RDBStorage:
    """Connect, and make the tables where there are none.

    Workers that start together make them at the same time. All but one fail then, and find them the next time.
    """
    text = url.render_as_string(hide_password=False)
    for _ in range(OPENING_ATTEMPTS):
        try:
            return RDBStorage(text, engine_kwargs=dict(arguments), grace_period=timing.grace_s)
        except (sqlalchemy.exc.DBAPIError, StorageInternalError, AssertionError) as error:
            if is_outage(error) or _is_refusal(error):
                raise
            time.sleep(random.uniform(0.05, 0.3))
    return RDBStorage(text, engine_kwargs=dict(arguments), grace_period=timing.grace_s)


def _is_refusal(error: BaseException) -> bool:
    """Whether the database forbids something, which the next attempt would not change."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == "42501"


def _use_utc(engine: sqlalchemy.Engine) -> None:
    """Have the database tell times in UTC.

    Heartbeats are kept without a time zone. In local time, all workers would seem dead for the first moments of
    summer time, and workers with other settings of the zone would seem dead always, or never.
    """
    errors = engine.dialect.loaded_dbapi.Error

    @sqlalchemy.event.listens_for(engine, "connect")
    def set_zone(raw: Any, _record: Any) -> None:
        statement = "SET TIME ZONE 'UTC'"
        try:
            with raw.cursor() as cursor:
                cursor.execute(statement)
            raw.commit()
        except errors as error:
            # SQLAlchemy dresses errors of its own statements only.
            raise sqlalchemy.exc.OperationalError(statement, None, error) from error

    # Connections of the pool were made before.
    engine.dispose()


def _with_driver(url: URL, where: str) -> URL:
    if url.drivername not in {"postgresql", "postgres"}:
        return url
    for package, name in DRIVERS.items():
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
            return url.set(drivername=name)
    raise StorageError("no driver for PostgreSQL is installed", where=where, hint="pip install 'nas-video[postgres]'")
