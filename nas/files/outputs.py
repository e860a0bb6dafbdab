"""Whether results can be kept, asked before the work that makes them."""

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
    """See now whether a file could be written later.

    Args:
        path: The file. Missing folders are no obstacle, and are not made.
        suffixes: What its name may end with; anything when empty.

    Raises:
        ConfigError: The name ends otherwise.
        StorageError: It could not be written: read-only, full, a folder of that name, a name that is too long.
    """
    path = Path(path)
    if suffixes:
        check_suffix(path, suffixes)
    with storage_errors(path):
        target = file_target(path)
        _probe(target.parent, target.name)


def check_suffix(path: str | Path, suffixes: Sequence[str]) -> Path:
    """The path of a file whose name says its format; a `ConfigError` where that is none of these."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        got = f"cannot write {path.suffix}" if path.suffix else "the name has no suffix"
        raise ConfigError(got, where=path, hint=f"use {' or '.join(suffixes)}")
    return path


def check_output_folder(path: str | Path, kind: str | None = None) -> None:
    """See now whether files could be written into a folder later; raises `StorageError` as `check_output_file`.

    Args:
        path: The folder; not made where it is missing.
        kind: What will take the place of its content, as of `atomic_folder`; nothing is replaced when left out.
    """
    path = Path(path)
    with storage_errors(path):
        target = folder_target(path)
        _probe(target, "")
    if kind is not None:
        require_own(target, kind)


def refuse_overlap(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is read, and twice to one place.

    Args:
        outputs: Files and folders that will be written.
        inputs: Files and folders that will be read.

    Raises:
        ConfigError: An output is an input, contains one, or lies in one; or two outputs are the same.
    """
    read, taken = [(path, Path(os.path.realpath(path))) for path in inputs], set()
    for output in outputs:
        written = Path(os.path.realpath(output))
        if written in taken:
            raise ConfigError("two results would be written there", where=output, hint="give each a name of its own")
        taken.add(written)
        for path, source in read:
            if written == source:
                relation = "is what is read"
            elif source.is_relative_to(written):
                relation = f"contains {path}, which is read"
            elif written.is_relative_to(source):
                relation = f"lies in {path}, which is read"
            else:
                continue
            raise ConfigError(f"the output {relation}", where=output, hint="choose another path to write to")


def _probe(folder: Path, name: str) -> None:
    """Make a file in the deepest folder that there is, and remove it; check the names of what is missing."""
    missing = [name]
    while not folder.exists():
        missing.append(folder.name)
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX):
        for part in missing:
            with contextlib.suppress(FileNotFoundError):
                os.lstat(folder / part)  # raises for a name that is too long
