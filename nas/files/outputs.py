"""Checks before the work whether its results can be written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from nas.errors import ConfigError
from nas.files.folders import folder_target, require_own
from nas.files.temporaries import TEMPORARY_PREFIX
from nas.files.writing import file_target, storage_errors


def check_output_file(path: str | Path, suffixes: Sequence[str] = ()) -> None:
    """Check in advance that a file can be written.

    Args:
        path: The file. Missing folders are allowed, and are not made.
        suffixes: The allowed suffixes of its name; all when empty.

    Raises:
        ConfigError: The name has another suffix.
        StorageError: The file cannot be written: read-only, full, a folder of that name, a name that is too long.
    """
    path = Path(path)
    if suffixes:
        check_suffix(path, suffixes)
    with storage_errors(path):
        target = file_target(path)
        _probe(target.parent, target.name)


def check_suffix(path: str | Path, suffixes: Sequence[str]) -> Path:
    """The path of a file whose suffix gives its format; `ConfigError` if it is none of `suffixes`."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        got = f"cannot write {path.suffix}" if path.suffix else "the name has no suffix"
        raise ConfigError(got, where=path, hint=f"use {' or '.join(suffixes)}")
    return path


def check_output_folder(path: str | Path, kind: str | None = None) -> None:
    """Check in advance that files can be written into a folder; raises `StorageError` as `check_output_file`.

    Args:
        path: The folder; it is not made if it is missing.
        kind: What will replace its content, as for `atomic_folder`; nothing is replaced when left out.
    """
    path = Path(path)
    with storage_errors(path):
        target = folder_target(path)
        _probe(target, "")
    if kind is not None:
        require_own(target, kind)


def refuse_overlap(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuse to overwrite inputs, and to write two outputs to one place.

    Args:
        outputs: Files and folders that will be written.
        inputs: Files and folders that will be read.

    Raises:
        ConfigError: An output is an input, contains one, or is inside one; or two outputs are the same.
    """
    read, taken = [(path, Path(os.path.realpath(path))) for path in inputs], set()
    for output in outputs:
        written = Path(os.path.realpath(output))
        if written in taken:
            raise ConfigError("two results would be written there", where=output, hint="give each result its own name")
        taken.add(written)
        for path, source in read:
            if written == source:
                relation = "is also an input"
            elif source.is_relative_to(written):
                relation = f"contains {path}, which is an input"
            elif written.is_relative_to(source):
                relation = f"is inside {path}, which is an input"
            else:
                continue
            raise ConfigError(f"the output {relation}", where=output, hint="choose another path to write to")


def _probe(folder: Path, name: str) -> None:
    """Make and remove a file in the deepest existing folder; check the names of missing folders."""
    missing = [name]
    while not folder.exists():
        missing.append(folder.name)
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX):
        for part in missing:
            with contextlib.suppress(FileNotFoundError):
                os.lstat(folder / part)  # raises for a name that is too long
