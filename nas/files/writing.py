"""Writing files under a temporary name and then moving them into place, so that no file is ever half-written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.errors import StorageError
from nas.files.temporaries import temporary_file
from nas.formatting import finite_or_null
from nas.validation import dump_plain


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an error of the operating system while writing into a `StorageError` that names `path`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> StorageError:
    """The error for a path that cannot be written."""
    reason = error.strerror or str(error) or type(error).__name__
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    hint = "free some space and run the same command again" if full else "choose another path"
    return StorageError(f"cannot write: {reason}", where=path, hint=hint)


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it to `path` on success, remove it on failure.

    Args:
        path: The file to write. Missing parent folders are made, and a link is followed. The temporary file keeps
            its suffix, because some writers choose their format by it.

    Raises:
        StorageError: The disk is full, the folder cannot be written, or `path` is not a file.
    """
    path = Path(path)
    with storage_errors(path):
        target = file_target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(target.parent, target.suffix) as temporary:
            yield temporary
            sync(temporary)
            temporary.chmod(0o666 & ~umask())
            temporary.replace(target)


def file_target(path: Path) -> Path:
    """The file that a path leads to through links.

    Raises:
        OSError: It leads to a folder, a device, or in a circle.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Is a device, not a file", str(path))
    return target


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; numbers that are not finite become null."""
    write_text(path, json.dumps(finite_or_null(value), indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_yaml(path: str | Path, value: Any) -> None:
    """Write `value` as block-style YAML, atomically, keys in their own order."""
    write_text(path, dump_plain(value))


def sync(path: Path) -> None:
    """Flush a file to the disk before anything refers to it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def umask() -> int:
    """The umask: permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
