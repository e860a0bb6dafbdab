"""Opening studies on a database server, which many workers share."""

from __future__ import annotations

import contextlib
import importlib
import random
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import URL

from nas.errors import StorageError
from nas.search.storage.address import Address
from nas.search.storage.rdb import check_tables, close_rdb, contents_errors, open_rdb
from nas.search.storage.retrying import RetryingStorage, is_outage
from nas.search.timing import Timing

DRIVERS = {"psycopg": "postgresql+psycopg", "psycopg2": "postgresql+psycopg2"}
"""SQLAlchemy's driver for `postgresql://`, by Python package; the first package that is installed is used."""

LIBPQ = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Settings of a PostgreSQL connection, in seconds. A host that is gone is noticed within a minute, not after hours."""

UTC = "SET TIME ZONE 'UTC'"
"""Heartbeats are stored without a time zone, so all sessions use UTC. In local time, workers would appear dead when
summer time begins, and workers with different zones would appear dead always or never."""

READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"

OPENING_ATTEMPTS = 20
"""Attempts to open a database in which other workers are creating the same tables."""


@contextlib.contextmanager
def server_connection(where: Address, timing: Timing) -> Iterator[BaseStorage]:
    """Open a server to write to it; the storage then waits while the server is away.

    Raises:
        StorageError: There is no driver for it, it cannot be reached, or its contents belong to another program or
            another version of Optuna.
    """
    with contents_errors(where):
        backend = _open_server(where, timing, read_only=False)
    try:
        yield RetryingStorage(backend, timing.outage_s, where.reason)
    finally:
        close_rdb(backend)


@contextlib.contextmanager
def server_reading(where: Address) -> Iterator[BaseStorage]:
    """Open a server in transactions that cannot write; raises as `server_connection`, and if it holds no studies."""
    with contents_errors(where):
        backend = _open_server(where, Timing(), read_only=True)
    try:
        yield backend
    finally:
        close_rdb(backend)


def _open_server(where: Address, timing: Timing, *, read_only: bool) -> RDBStorage:
    assert where.url is not None
    if where.url.drivername.startswith("redis"):
        raise StorageError("redis cannot store studies", where=where.shown, hint="use PostgreSQL or SQLite")
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
    """Refuse a database without studies, in which Optuna would create its tables."""
    engine = sqlalchemy.create_engine(url, **arguments)
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    check_tables(tables, where)
    if not tables:
        raise StorageError("holds no studies", where=where.shown, hint="`nas search` creates them")


def _with_tables(url: URL, arguments: dict[str, Any], timing: Timing, *, skip_table_creation: bool) -> RDBStorage:
    """Connect, and create missing tables unless that is skipped.

    Workers that start together create the tables at the same time. All but one fail, and succeed at the next attempt.
    """
    text = url.render_as_string(hide_password=False)
    settings = {"grace_period": timing.grace_s, "skip_table_creation": skip_table_creation}
    for _ in range(OPENING_ATTEMPTS):
        try:
            return open_rdb(text, dict(arguments), **settings)
        except (sqlalchemy.exc.DBAPIError, StorageInternalError, AssertionError) as error:
            if is_outage(error) or _is_refusal(error):
                raise
            time.sleep(random.uniform(0.05, 0.3))
    return open_rdb(text, dict(arguments), **settings)


def _is_refusal(error: BaseException) -> bool:
    """Whether the database or the driver refuses the access, so that another attempt is useless."""
    return getattr(getattr(error, "orig", None), "sqlstate", "") in {None, "42501"}


def _begin_with(engine: sqlalchemy.Engine, statements: list[str]) -> None:
    """Run statements at the beginning of each connection."""
    errors = engine.dialect.loaded_dbapi.Error

    @sqlalchemy.event.listens_for(engine, "connect")
    def begin(raw: Any, _record: Any) -> None:
        try:
            with raw.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
            raw.commit()
        except errors as error:
            # SQLAlchemy wraps only errors of its own statements.
            raise sqlalchemy.exc.OperationalError("; ".join(statements), None, error) from error

    # Close connections that are in the pool already.
    engine.dispose()


def _with_driver(url: URL, where: str) -> URL:
    if url.drivername not in {"postgresql", "postgres"}:
        return url
    for package, name in DRIVERS.items():
        with contextlib.suppress(ImportError):
            importlib.import_module(package)
            return url.set(drivername=name)
    raise StorageError("no driver for PostgreSQL is installed", where=where, hint="pip install 'nas-video[postgres]'")
