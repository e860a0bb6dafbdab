"""Locks of files and folders. The system releases a lock when its process ends, even by a kill."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from nas.errors import StorageError
from nas.files.writing import storage_errors

logger = logging.getLogger("nas")

LOCK_FILE = ".lock"
"""Name of the lock file of a folder."""


class NoLocksError(StorageError):
    """The file system does not support locks."""


@contextlib.contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Hold the folder of a run, so that no other process works in it at the same time.

    If the file system does not support locks, as on some clusters, a warning says that the folder is not protected.

    Args:
        folder: The folder; it is made if it is missing.

    Raises:
        StorageError: Another process holds it, which the message names; or the folder cannot be written.
    """
    folder = Path(folder)
    with contextlib.ExitStack() as held:
        try:
            is_mine = held.enter_context(lock(folder / LOCK_FILE, wait=False))
        except NoLocksError as error:
            logger.warning("%s: %s; make sure that no other run uses it", folder, error.what)
            is_mine = True
        if not is_mine:
            owner = lock_owner(folder / LOCK_FILE)
            hint = "wait until it ends, or choose another folder"
            raise StorageError(f"another process is using this folder: {owner}", where=folder, hint=hint)
        yield


@contextlib.contextmanager
def lock(path: str | Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file. The lock is released when the process ends, even by a kill.

    Args:
        path: The file; it is made if it is missing, and names the holder. The holder may remove it.
        wait: Whether to wait until no other process holds it.

    Yields:
        Whether the lock is held; always true after waiting.

    Raises:
        NoLocksError: The file system does not support locks.
        StorageError: The file cannot be made.
    """
    path = Path(path)
    held = False
    with contextlib.ExitStack() as stack:
        while not held:
            with storage_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(path.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                break
            except OSError as error:
                hint = "choose a path on another file system"
                raise NoLocksError(f"cannot be locked: {error.strerror}", where=path, hint=hint) from error
            # The previous holder may have removed the file. Then other processes lock a new file of that name.
            held = _is_at(path, os.fstat(file.fileno()).st_ino)
            if held:
                _sign(file.fileno())
        yield held


def lock_owner(path: str | Path) -> str:
    """The holder of a lock file, as written in the file; for messages."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = Path(path).read_text(encoding="utf-8").strip()
        if text and text.isprintable() and len(text) < 200:
            return text
    return "an unknown one"


def _sign(file: int) -> None:
    """Write the holder into a lock file; a full disk does not prevent the lock."""
    since = dt.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode())


def _is_at(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False
