"""What Optuna's database storage needs on SQLite and on a server alike: opening, closing, and readable errors."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Set
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from nas.errors import NasError, StorageError
from nas.search.storage.address import Address

TABLES = frozenset({"studies", "trials", "version_info"})
"""Tables by which a database of Optuna is recognised."""


@contextlib.contextmanager
def database_errors(where: Address) -> Iterator[None]:
    """Turn an exception of the database into a `StorageError` that names the storage, without its secrets."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        raise _unusable(where, error) from error


@contextlib.contextmanager
def contents_errors(where: Address) -> Iterator[None]:
    """Do the same for every exception that Optuna, SQLAlchemy or a driver raises over unexpected contents.

    Wrap nothing but their calls in it: every exception counts as a problem of the database.
    """
    try:
        yield
    except NasError:
        raise
    except Exception as error:
        raise _unusable(where, error) from error


def open_rdb(url: str, arguments: dict[str, Any], **settings: Any) -> RDBStorage:
    """Open a database through Optuna, with Optuna's own log messages turned off."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Optuna replaces braces in a URL by its version.
    return RDBStorage(url.replace("{", "{{").replace("}", "}}"), engine_kwargs=arguments, **settings)


def close_rdb(backend: RDBStorage) -> None:
    """Close all connections of a database."""
    backend.remove_session()
    backend.engine.dispose()


def check_tables(tables: Set[str], where: Address) -> None:
    """Refuse a database of another program, so that Optuna adds no tables to it."""
    if tables and not tables >= TABLES:
        raise StorageError("is a database of another program, without studies", where=where.shown,
                           hint="name another file, or another database")  # fmt: skip


def _unusable(where: Address, error: Exception) -> StorageError:
    return StorageError(f"the storage of the study cannot be used: {where.reason(error)}", where=where.shown)
