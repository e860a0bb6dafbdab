"""Folders that a result replaces as a whole, and the marker that tells who owns their files.

A folder written here contains a marker: the kind of its content, and a list of the files that this program has put
there. A folder with content but without the marker belongs to the user, and is refused; so is one with content of
another kind. Files that the marker does not list belong to the user, and stay.
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
"""Name of the marker, which lists the files that this program has put into its folder."""

_ASIDE_PREFIX = ".nas-old-"

_NOBODYS = frozenset({"lost+found", ".DS_Store"})
"""Files that systems create by themselves: a folder with nothing else counts as empty."""


@contextlib.contextmanager
def atomic_folder(path: str | Path, kind: str) -> Iterator[Path]:
    """Yield a temporary folder; its content replaces what an earlier call has put at `path`.

    A new folder appears complete or not at all. So does a replacement, unless the old folder cannot be moved (a mount
    point or the current folder) or contains files of the user. Such a folder is filled file by file, and a kill during
    that leaves a folder that `require_whole` refuses.

    Args:
        path: The folder. Links are followed, missing parents are made.
        kind: What is written, e.g. `model`; it replaces only content of the same kind.

    Raises:
        StorageError: The folder contains something else, of the user or of this program, or cannot be written.
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
        OSError: It does not lead to a folder, or leads in a circle.
    """
    target = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        target.stat()
        if not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, where a folder is needed", str(path))
    return target


def require_own(folder: Path, kind: str) -> None:
    """Raise `StorageError` for a folder with content that this program has not made, or of another kind."""
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
        raise error("is half-written: the process that was writing it was killed", where=folder, hint="write it again")


@dataclass(frozen=True)
class _Marker:
    kind: str
    files: frozenset[str]
    whole: bool

    def write(self, folder: Path) -> None:
        value = {"made_by": "nas", "kind": self.kind, "whole": self.whole, "files": sorted(self.files)}
        write_text(folder / FOLDER_MARKER, json.dumps(value, indent=2) + "\n")


def _read_marker(folder: Path) -> _Marker | None:
    """The marker of a folder; `None` if this program has written none."""
    try:
        value = json.loads((folder / FOLDER_MARKER).read_text(encoding="utf-8"))
        return _Marker(str(value["kind"]), frozenset(map(str, value["files"])), value["whole"] is True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _seal(folder: Path, kind: str) -> None:
    """Complete a temporary folder: write its marker, set its permissions, and flush it to the disk."""
    files = _files(folder)
    for name in files:
        sync(folder / name)
    _Marker(kind, files, whole=True).write(folder)
    folder.chmod(0o777 & ~umask())


def _replaced(temporary: Path, target: Path) -> bool:
    """Replace the folder that contains the temporary one, if that is possible and loses nothing."""
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
    """Where a folder is kept while another one replaces it; the name stays short."""
    return target.with_name(f"{_ASIDE_PREFIX}{fingerprint(target.name)}")


def _recover(target: Path) -> None:
    """After a kill during a replacement: put the old folder back, or remove it if the new one is there."""
    old = _aside(target)
    if old.is_dir() and target.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.is_dir():
        old.rename(target)


def _is_current(folder: Path) -> bool:
    """Whether the current folder of this process, and perhaps of a user's shell, is this folder or inside it."""
    try:
        return Path.cwd().is_relative_to(folder)
    except FileNotFoundError:
        return False


def _fill(temporary: Path, target: Path, kind: str) -> None:
    """Move files into an existing folder, and remove those that this program had put there before."""
    before, new = _read_marker(target), _files(temporary)
    own = frozenset() if before is None else before.files
    taken = sorted(name for name in new - own if (target / name).exists() or (target / name).is_symlink())
    if taken:
        hint = "choose another folder, or move it away"
        raise StorageError("already exists, and nas has not written it", where=target / taken[0], hint=hint)
    _Marker(kind, own | new, whole=False).write(target)
    for name in sorted(new):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (temporary / name).replace(target / name)
    for name in own - new:
        _drop(target, name)
    _Marker(kind, new, whole=True).write(target)


def _drop(folder: Path, name: str) -> None:
    """Remove a file of this program, and folders that are then empty."""
    path = folder / name
    if not path.parent.resolve().is_relative_to(folder):  # the marker was edited
        return
    path.unlink(missing_ok=True)
    for parent in path.relative_to(folder).parents:
        with contextlib.suppress(OSError):
            if str(parent) != ".":
                (folder / parent).rmdir()


def _files(folder: Path) -> frozenset[str]:
    """Names of all files below a folder, including links, without its marker and temporary files."""
    names = set()
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not _is_nobodys(name)]
        linked = [name for name in folders if (Path(root) / name).is_symlink()]
        names |= {(Path(root) / name).relative_to(folder).as_posix() for name in (*files, *linked)}
    return frozenset(name for name in names if name != FOLDER_MARKER and not _is_nobodys(Path(name).name))


def _is_nobodys(name: str) -> bool:
    return name in _NOBODYS or name.startswith(TEMPORARY_PREFIX)
