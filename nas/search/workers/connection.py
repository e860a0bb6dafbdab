"""Connections to the databases that hold studies: one SQLite file, or a server that many workers share."""

from __future__ import annotations

import contextlib
import importlib
import random
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from nas.errors import NasError, StorageError
from nas.search.workers.address import Address
from nas.search.workers.patience import PatientStorage, is_outage
from nas.search.workers.snapshot import snapshot
from nas.search.workers.timing import Timing

LOCK_TIMEOUT_S = 60

DRIVERS = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
"""By Python package, what a plain `postgresql://` becomes; the first one installed is taken."""

LIBPQ = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Settings of a PostgreSQL connection, in seconds: a host that vanished is noticed within a minute, not in hours."""

UTC = "SET TIME ZONE 'UTC'"
"""Heartbeats are kept without a time zone. In local time, all workers would seem dead for the first moments of summer
time, and workers with other settings of the zone would seem dead always, or never."""

READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"

OPENING_ATTEMPTS = 20
"""How often to try to open a database in which other workers are just making the same tables."""

TABLES = frozenset({"studies", "trials", "version_info"})
"""Tables by which a database of Optuna is known."""


@contextlib.contextmanager
def database_errors(where: Address) -> Iterator[None]:
    """Turn what a database has to say into a `StorageError` that names the storage, without its secrets."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        raise _unusable(where, error) from error


@contextlib.contextmanager
def contents_errors(where: Address) -> Iterator[None]:
    """The same for whatever Optuna, SQLAlchemy and a driver raise over a database that is not as they expect it.

    Wrap calls of theirs in it, nothing else: it takes every exception for a trouble of the database.
    """
    try:
        yield
    except NasError:
        raise
    except Exception as error:
        raise _unusable(where, error) from error


def _unusable(where: Address, error: Exception) -> StorageError:
    return StorageError(f"the storage of the study cannot be used: {where.reason(error)}", where=where.shown)


@contextlib.contextmanager
def connection(where: Address, timing: Timing) -> Iterator[BaseStorage]:
    """Open a storage to write to it; one on a server waits through outages from then on.

    Raises:
        StorageError: There is no such kind of storage, no driver for it, it cannot be reached, or what it holds is of
            another program or another version of Optuna.
    """
    with contents_errors(where):
        backend = _open_server(where, timing, read_only=False) if where.file is None else _open_file(where)
    try:
        yield _patient(backend, where, timing) if where.file is None else optuna.storages.get_storage(backend)
    finally:
        _close(backend)


@contextlib.contextmanager
def read_connection(where: Address) -> Iterator[BaseStorage]:
    """Open a storage to read it: a file through a copy in memory, a server in transactions that cannot write.

    Raises:
        StorageError: As for `connection`; or a server holds no studies.
    """
    with contents_errors(where):
        backend = _open_server(where, Timing(), read_only=True) if where.file is None else _open_copy(where)
    try:
        yield backend
    finally:
        _close(backend)


def _patient(backend: RDBStorage, where: Address, timing: Timing) -> PatientStorage:
    return PatientStorage(backend, timing.outage_s, where.reason)


def _close(backend: RDBStorage) -> None:
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


def _open_file(where: Address) -> RDBStorage:
    """Open a file to write to it, once a copy of it shows that Optuna can work with what it holds."""
    assert where.file is not None
    if where.file.exists():
        _close(_open_copy(where))
    path = where.file.resolve()

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, check_same_thread=False, factory=_SQLite)

    # The path does not go through a URL, in which some of its characters would mean something. This one names a file
    # only so that SQLAlchemy keeps a pool of connections as for files.
    return _quietly("sqlite:///study.db", {"creator": connect})


def _open_copy(where: Address) -> RDBStorage:
    assert where.file is not None
    memory = snapshot(where.file)
    try:
        tables = {name for (name,) in memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        _check_tables(tables, where)
        return _quietly("sqlite://", {"creator": lambda: memory, "poolclass": StaticPool})
    except BaseException:
        memory.close()
        raise


def _check_tables(tables: set[str], where: Address) -> None:
    """Refuse a database of another program: its tables are not to stand beside Optuna's."""
    if tables and not tables >= TABLES:
        raise StorageError("is a database of another program, without studies", where=where.shown,
                           hint="name another file, or another database")  # fmt: skip


def _quietly(url: str, arguments: dict[str, Any], **settings: Any) -> RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Optuna takes braces for a place where it may put its version.
    return RDBStorage(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=arguments, **settings)


def _open_server(where: Address, timing: Timing, *, read_only: bool) -> RDBStorage:
    assert where.url is not None
    if where.url.drivername.startswith("redis"):
        raise StorageError("redis is no study storage", where=where.shown, hint="use PostgreSQL or SQLite")
    url = _with_driver(where.url, where.shown)
    postgresql = url.get_backend_name() == "postgresql"
    libpq = {key: value for key, value in LIBPQ.items() if key not in url.query} if postgresql else {}
    arguments = {"pool_pre_ping": True, "connect_args": libpq}
    if read_only:
        _check_server(url, arguments, where)
    backend = _with_tables(url, arguments, timing, skip_table_creation=read_only)
    # Set here, since asking RDBStorage for it warns that it is experimental.
    backend.heartbeat_interval = timing.heartbeat_s
    if postgresql:
        _begin_with(backend.engine, [UTC, READ_ONLY] if read_only else [UTC])
    return backend


def _check_server(url: URL, arguments: dict[str, Any], where: Address) -> None:
    """Refuse a database without studies; Optuna would make its tables in it."""
    engine = sqlalchemy.create_engine(url, **arguments)
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    _check_tables(tables, where)
    if not tables:
        raise StorageError("holds no studies", where=where.shown, hint="`nas search` makes them")


def _with_tables(url: URL, arguments: dict[str, Any], timing: Timing, *, skip_table_creation: bool) -> RDBStorage:
    """Connect, and make the tables where there are none, unless that is to be skipped.

    Workers that start together make them at the same time. All but one fail then, and find them the next time.
    """
    text = url.render_as_string(hide_password=False)
    settings = {"grace_period": timing.grace_s, "skip_table_creation": skip_table_creation}
    for _ in range(OPENING_ATTEMPTS):
        try:
            return _quietly(text, dict(arguments), **settings)
        except (sqlalchemy.exc.DBAPIError, StorageInternalError, AssertionError) as error:
            if is_outage(error) or _is_refusal(error):
                raise
            time.sleep(random.uniform(0.05, 0.3))
    return _quietly(text, dict(arguments), **settings)


def _is_refusal(error: BaseException) -> bool:
    """Whether the database forbids something, or the driver did not even ask it: the next attempt changes neither."""
    return getattr(getattr(error, "orig", None), "sqlstate", "") in {None, "42501"}


def _begin_with(engine: sqlalchemy.Engine, statements: list[str]) -> None:
    """Have each connection begin with some settings of its session."""
    errors = engine.dialect.loaded_dbapi.Error

    @sqlalchemy.event.listens_for(engine, "connect")
    def begin(raw: Any, _record: Any) -> None:
        try:
            with raw.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            raw.commit()
        except errors as error:
            # SQLAlchemy dresses errors of its own statements only.
            raise sqlalchemy.exc.OperationalError("; ".join(statements), None, error) from error

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
