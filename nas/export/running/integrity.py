"""Digests of a bundle's files: written when it is exported, checked before anything in it is executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from nas.errors import CheckpointError
from nas.export.manifest import BundledFile, Manifest
from nas.files import file_digest, inside, storage_errors


def bundled_files(root: Path) -> Mapping[str, BundledFile]:
    """Size and digest of every file below a folder, by its path there."""
    with storage_errors(root):
        return {
            file.relative_to(root).as_posix(): BundledFile(size_bytes=file.stat().st_size, sha256=file_digest(file))
            for file in sorted(root.rglob("*"))
            if file.is_file()
        }


def check_files(root: Path, manifest: Manifest, wanted: Iterable[str]) -> None:
    """Compare files of a bundle with its manifest.

    Args:
        root: The bundle.
        manifest: Its manifest.
        wanted: Paths of files and packages in it; others are not looked at.

    Raises:
        CheckpointError: A file is missing, or is not the one that was exported.
        ConfigError: A path leaves the bundle.
    """
    paths = set(wanted)
    listed = [name for name in manifest.files if any(_belongs(name, path) for path in paths)]
    unlisted = sorted(path for path in paths if not any(_belongs(name, path) for name in listed))
    if unlisted:
        raise CheckpointError(f"its manifest does not list {unlisted[0]}", where=root, hint="export the model again")
    for name in listed:
        _check_file(inside(root, name), manifest.files[name])


def _belongs(name: str, path: str) -> bool:
    """Whether a file is what a path names: the file itself, a part of a package, or the weights beside a model."""
    return name in {path, f"{path}.data"} or name.startswith(f"{path}/")


def _check_file(file: Path, expected: BundledFile) -> None:
    hint = "copy the bundle again, or export the model again"
    if not file.is_file():
        raise CheckpointError("is missing from the bundle", where=file, hint=hint)
    try:
        found = BundledFile(size_bytes=file.stat().st_size, sha256=file_digest(file))
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", where=file) from error
    if found != expected:
        raise CheckpointError("is not the file that was exported: its digest differs", where=file, hint=hint)
