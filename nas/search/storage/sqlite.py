"""Opening a SQLite file: to write to it, or to read it through a copy in memory.

Reading needs no permission to write, and leaves no files behind. SQLite itself creates two files beside a database
with a write-ahead log, even to read it. In a read-only folder it cannot, and elsewhere these files would belong to the
reader, so that the search of another user would fail afterwards. So each state of a file is read without writing:

- `-wal` and `-shm` exist: a search is open, or was killed. SQLite reads both files without writing, and respects the
  locks of the search. The latest writes are seen.
- Only `-wal` has content: the file is a copy of a study, or the rest of a crash, and nobody has it open. Both files are
  copied to a temporary folder and read there. The same holds for a database with a journal to roll back.
- Neither exists: the file is complete. With a write-ahead log, it is read as immutable, and read again if it changed
  meanwhile. Without one, SQLite's own locks are enough.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.pool import StaticPool

from nas.errors import StorageError
from nas.files import storage_errors
from nas.search.storage.address import Address
from nas.search.storage.rdb import check_tables, close_rdb, contents_errors, open_rdb

BUSY_S = 60
"""Seconds to wait for a process that holds the lock of the file."""

ATTEMPTS = 20
"""Attempts to read: a search that begins or ends meanwhile changes the state of the file, within milliseconds."""

_WRITE_AHEAD = 2
"""Value of the byte in a database's header that says how it is read."""
_VERSION_BYTE = 19

LOCK_TIMEOUT_S = 60


@contextlib.contextmanager
def file_connection(where: Address) -> Iterator[BaseStorage]:
    """Open a SQLite file to write to it, once a copy of it shows that Optuna can work with its contents.

    Raises:
        StorageError: It cannot be read, or its contents belong to another program or another version of Optuna.
    """
    with contents_errors(where):
        backend = _open_file(where)
    try:
        yield optuna.storages.get_storage(backend)
    finally:
        close_rdb(backend)


@contextlib.contextmanager
def file_reading(where: Address) -> Iterator[BaseStorage]:
    """Open a copy of a SQLite file in memory; raises as `file_connection`."""
    with contents_errors(where):
        backend = _open_copy(where)
    try:
        yield backend
    finally:
        close_rdb(backend)


class _SQLite(sqlite3.Connection):
    """A connection that does not wait for the disk after each of the many small writes of a trial.

    With a write-ahead log, a killed process loses nothing, and readers and the writer do not block each other. A power
    cut can lose the last writes, but does not damage the file.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode=WAL").close()
        self.execute("PRAGMA synchronous=NORMAL").close()


def _open_file(where: Address) -> RDBStorage:
    assert where.file is not None
    if where.file.exists():
        close_rdb(_open_copy(where))
    path = where.file.resolve()

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, check_same_thread=False, factory=_SQLite)

    # The path does not go through a URL, in which some of its characters would mean something. This one names a file
    # only so that SQLAlchemy keeps a pool of connections as for files.
    return open_rdb("sqlite:///study.db", {"creator": connect})


def _open_copy(where: Address) -> RDBStorage:
    assert where.file is not None
    memory = snapshot(where.file)
    try:
        tables = {name for (name,) in memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        check_tables(tables, where)
        return open_rdb("sqlite://", {"creator": lambda: memory, "poolclass": StaticPool})
    except BaseException:
        memory.close()
        raise


class _Changed(Exception):
    """The state of the file has changed since it was determined."""


def snapshot(database: Path) -> sqlite3.Connection:
    """Copy a SQLite file into memory.

    Args:
        database: The file.

    Returns:
        The copy, which any thread may use and change.

    Raises:
        StorageError: It cannot be read, or keeps changing.
        sqlite3.Error: It is not a database, or is damaged.
    """
    try:
        # SQLite puts its other files beside the target of a link.
        database = database.resolve(strict=True)
        for attempt in range(ATTEMPTS):
            with contextlib.suppress(_Changed):
                return _read(database)
            time.sleep(0.01 * attempt)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=database) from error
    raise StorageError("changes faster than it can be read", where=database, hint="try again")


def _read(database: Path) -> sqlite3.Connection:
    log, shared, journal = (_size(database, suffix) for suffix in ("-wal", "-shm", "-journal"))
    if log is not None and shared is not None:
        return _read_live(database)
    if log or journal:
        return _read_aside(database) if log else _read_journalled(database)
    return _read_whole(database)


def _read_live(database: Path) -> sqlite3.Connection:
    try:
        return _in_memory(database, "mode=ro&readonly_shm=1")
    except sqlite3.OperationalError as error:
        if _size(database, "-wal") is None or _size(database, "-shm") is None:
            raise _Changed from error
        raise


def _read_journalled(database: Path) -> sqlite3.Connection:
    try:
        return _in_memory(database, "mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
    return _read_aside(database)


def _read_aside(database: Path) -> sqlite3.Connection:
    with contextlib.ExitStack() as stack:
        with storage_errors(Path(tempfile.gettempdir())):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nas-study-"))
        copy = Path(folder) / "study.db"
        with _unchanged(database):
            _copy(database, copy)
            for suffix in ("-wal", "-journal"):
                with contextlib.suppress(FileNotFoundError):
                    _copy(_beside(database, suffix), _beside(copy, suffix))
        return _in_memory(copy, "mode=rw")


def _copy(source: Path, target: Path) -> None:
    # A full temporary folder is reported differently from an unreadable file.
    with source.open("rb") as read, storage_errors(target), target.open("wb") as write:
        shutil.copyfileobj(read, write)


def _read_whole(database: Path) -> sqlite3.Connection:
    with _unchanged(database):
        memory = _in_memory(database, "mode=ro&immutable=1")
    image = memory.serialize()
    if not image or image[_VERSION_BYTE] == _WRITE_AHEAD:
        return memory
    memory.close()
    return _in_memory(database, "mode=ro")


@contextlib.contextmanager
def _unchanged(database: Path) -> Iterator[None]:
    """Raise `_Changed` if the file was written to while the block ran, even if the block failed."""
    before = _state(database)
    try:
        yield
    finally:
        if _state(database) != before:
            raise _Changed


def _state(database: Path) -> list[tuple[int, int, int] | None]:
    states: list[tuple[int, int, int] | None] = []
    for suffix in ("", "-wal", "-journal"):
        try:
            stat = _beside(database, suffix).stat()
        except FileNotFoundError:
            states.append(None)
        else:
            states.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return states


def _in_memory(database: Path, how: str) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(os.fsencode(database))}?{how}", uri=True)) as source:
            source.execute("PRAGMA query_only=1").close()
            source.backup(memory, progress=_patience(), sleep=0.05)
    except BaseException:
        memory.close()
        raise
    return memory


def _patience() -> Callable[[int, int, int], None]:
    """A callback that ends a copy which waits for a lock; SQLite itself would wait forever."""
    until = time.monotonic() + BUSY_S

    def check(status: int, _left: int, _total: int) -> None:
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > until:
            raise sqlite3.OperationalError("database is locked")

    return check


def _size(database: Path, suffix: str) -> int | None:
    """Size of a file beside the database; `None` where it is missing."""
    try:
        return _beside(database, suffix).stat().st_size
    except FileNotFoundError:
        return None


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)
