"""Temporary files and folders: their names, and the removal of those whose process is gone.

A name contains the number of the process that made it, and that process holds a lock on it. A killed process cannot
clean up; the next process that writes beside its leftovers removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

TEMPORARY_PREFIX = ".nas-tmp-"
"""Names of temporary files and folders start with this."""

_live: set[Path] = set()
"""The temporary files and folders of this process."""

_OWNER = re.compile(re.escape(TEMPORARY_PREFIX) + r"(\d+)-")


@contextlib.contextmanager
def temporary_file(folder: Path, suffix: str) -> Iterator[Path]:
    """An empty file in `folder`, removed at the end if it is still there; leftovers of dead processes go first."""
    _sweep(folder)
    handle, name = tempfile.mkstemp(dir=folder, prefix=_prefix(), suffix=suffix)
    path = Path(name)
    with _under_way(path, handle):
        yield path


@contextlib.contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """As `temporary_file`, for a folder in `folder`."""
    _sweep(folder)
    path = Path(tempfile.mkdtemp(dir=folder, prefix=_prefix()))
    with _under_way(path, os.open(path, os.O_RDONLY)):
        yield path


def remove_temporaries(folder: str | Path) -> None:
    """Remove all temporary files and folders below `folder`.

    Call it only if no other process is writing there: this also removes the files of living processes.
    """
    for path in list(Path(folder).rglob(f"{TEMPORARY_PREFIX}*")):
        _remove(path)


def _prefix() -> str:
    return f"{TEMPORARY_PREFIX}{os.getpid()}-"


def _sweep(folder: Path) -> None:
    """Remove the leftovers of dead processes directly in a folder."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    for name in names:
        if _is_left_over(folder / name):
            _remove(folder / name)


def _is_left_over(path: Path) -> bool:
    """Whether the process that made a file is gone, and no process on any machine holds the lock.

    In containers, processes may have the same number, so a process with the number of this one counts as gone unless
    the file is this process's own. The lock alone is not enough for files: a writer may replace the locked file.
    """
    owner = _OWNER.match(path.name)
    if owner is None or path in _live:
        return False
    return (int(owner[1]) == os.getpid() or not _is_alive(int(owner[1]))) and _is_free(path)


def _is_free(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextlib.contextmanager
def _under_way(path: Path, handle: int) -> Iterator[None]:
    _live.add(path)
    try:
        # If files cannot be locked, no other process can take the lock either, and nothing is removed.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
        _remove(path)
        _live.discard(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
