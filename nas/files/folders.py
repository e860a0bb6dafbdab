"""Folders that a result replaces as a whole, and whose they are.

A folder written here holds a marker: the kind of its content, and a list of the files that this program has put
there. A folder with content and without the marker is the user's, and is refused; so is one with content of another
kind. Files that the marker does not list are the user's, too, and stay.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nas.errors import CheckpointError, NasError, StorageError
from nas.files.digests import fingerprint
from nas.files.temporaries import TEMPORARY_PREFIX, temporary_folder
from nas.files.writing import storage_errors, sync, umask, write_text

FOLDER_MARKER = ".nas-folder.json"
"""Lists the files that this program has put into the folder where it stands."""

_ASIDE_PREFIX = ".nas-old-"

_NOBODYS = frozenset({"lost+found", ".DS_Store"})
"""What systems put into folders by themselves: a folder with nothing else is empty."""


@contextlib.contextmanager
def atomic_folder(path: str | Path, kind: str) -> Iterator[Path]:
    """Yield a temporary folder; what is written there replaces what an earlier call has put at `path`.

    A new folder appears whole or not at all. So does one that replaces another, unless it cannot be moved (it is a
    mount or the current folder) or holds files of the user: it is filled file by file then, and a kill in between
    leaves a folder that `require_whole` refuses.

    Args:
        path: The folder. Links are followed, missing parents are made.
        kind: What is written, e.g. `model`; it takes the place of its kind only.

    Raises:
        StorageError: The folder holds something else, of the user or of this program, or cannot be written.
    """
    path = Path(path)
    with storage_errors(path):
        target = folder_target(path)
        _recover(target)
        require_own(target, kind)
        home = target if target.exists() else target.parent
        home.mkdir(parents=True, exist_ok=True)
        with temporary_folder(home) as temporary:
            yield temporary
            _seal(temporary, kind)
            if home != target and not target.exists():
                temporary.rename(target)
            elif not _replaced(temporary, target):
                _fill(temporary, target, kind)


def folder_target(path: Path) -> Path:
    """The folder that a path leads to through links.

    Raises:
        OSError: It leads to something that is no folder, or in a circle.
    """
    target = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        target.stat()
        if not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Is not a folder", str(path))
    return target


def require_own(folder: Path, kind: str) -> None:
    """Raise `StorageError` for a folder with content that this program has not made, or that is of another kind."""
    if not folder.is_dir():
        return
    marker, hint = _read_marker(folder), "choose another folder, or move what is in it"
    if marker is None:
        foreign = next((item.name for item in sorted(folder.iterdir()) if not _is_nobodys(item.name)), None)
        if foreign is not None:
            raise StorageError(
                f"holds files that nas has not marked as its own, such as {foreign!r}", where=folder, hint=hint
            )
    elif marker.kind != kind:
        raise StorageError(f"holds a {marker.kind}, which a {kind} must not replace", where=folder, hint=hint)


def require_whole(folder: str | Path, *, error: type[NasError] = CheckpointError) -> None:
    """Raise `error` for a folder that a killed process was filling."""
    marker = _read_marker(Path(folder))
    if marker is not None and not marker.whole:
        raise error("is half-written: what was writing it has been killed", where=folder, hint="write it again")


@dataclass(frozen=True)
class _Marker:
    kind: str
    files: frozenset[str]
    whole: bool

    def write(self, folder: Path) -> None:
        value = {"made_by": "nas", "kind": self.kind, "whole": self.whole, "files": sorted(self.files)}
        write_text(folder / FOLDER_MARKER, json.dumps(value, indent=2) + "\n")


def _read_marker(folder: Path) -> _Marker | None:
    """The marker of a folder; `None` where there is none that this program has written."""
    try:
        value = json.loads((folder / FOLDER_MARKER).read_text(encoding="utf-8"))
        return _Marker(str(value["kind"]), frozenset(map(str, value["files"])), value["whole"] is True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _seal(folder: Path, kind: str) -> None:
    """Complete a folder under way: its marker, its permissions, and all of it on the disk."""
    files = _files(folder)
    for name in files:
        sync(folder / name)
    _Marker(kind, files, whole=True).write(folder)
    folder.chmod(0o777 & ~umask())


def _replaced(temporary: Path, target: Path) -> bool:
    """Put a folder in the place of the one around it, if that is possible and loses nothing."""
    marker = _read_marker(target)
    if marker is None or not marker.files.issuperset(_files(target)) or _is_current(target):
        return False
    old = _aside(target)
    try:
        target.rename(old)
    except OSError:  # a mount, or a parent that cannot be written
        return False
    try:
        (old / temporary.name).rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return True


def _aside(target: Path) -> Path:
    """Where a folder waits while another one takes its place; no longer than a name may be."""
    return target.with_name(f"{_ASIDE_PREFIX}{fingerprint(target.name)}")


def _recover(target: Path) -> None:
    """Put back a folder whose replacement was killed in between, or remove it where the replacement is there."""
    old = _aside(target)
    if old.is_dir() and target.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.is_dir():
        old.rename(target)


def _is_current(folder: Path) -> bool:
    """Whether a folder, or one in it, is the current one of this process, and so perhaps that of a user's shell."""
    try:
        return Path.cwd().is_relative_to(folder)
    except FileNotFoundError:
        return False


def _fill(temporary: Path, target: Path, kind: str) -> None:
    """Move files into a folder that stays, and remove those that this program had put there before."""
    before, new = _read_marker(target), _files(temporary)
    own = frozenset() if before is None else before.files
    taken = sorted(name for name in new - own if (target / name).exists() or (target / name).is_symlink())
    if taken:
        hint = "choose another folder, or move it away"
        raise StorageError("is in the way, and nas has not written it", where=target / taken[0], hint=hint)
    _Marker(kind, own | new, whole=False).write(target)
    for name in sorted(new):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).replace(target / name)
    for name in own - new:
        _drop(target, name)
    _Marker(kind, new, whole=True).write(target)


def _drop(folder: Path, name: str) -> None:
    """Remove a file that was this program's, and folders that are empty without it."""
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder):  # a marker that somebody has changed
        return
    path.unlink(missing_ok=True)
    for parent in path.relative_to(folder).parents:
        with contextlib.suppress(OSError):
            if str(parent) != ".":
                (folder / parent).rmdir()


def _files(folder: Path) -> frozenset[str]:
    """Names of all files below a folder, links included, without its marker and what is under way."""
    names = set()
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_nobodys(name)]
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        names |= {(Path(root) / name).relative_to(folder).as_posix() for name in (*files, *linked)}
    return frozenset(name for name in names if name != FOLDER_MARKER and not _is_nobodys(Path(name).name))


def _is_nobodys(name: str) -> bool:
    return name in _NOBODYS or name.startswith(TEMPORARY_PREFIX)
