"""The folder for decoded clips and indices of tars: beside the data, or in the user's cache if that fails."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from nas.environment import cache_folder
from nas.errors import StorageError
from nas.files import fingerprint

logger = logging.getLogger("nas")

BESIDE = ".nas-cache"
"""The folder beside the data."""


class ClipCache:
    """The cache of one data folder.

    The default is `.nas-cache` in the folder of the data, so that all users and machines share it. If that cannot be
    written (a read-only file system, another user's folder), the cache is a folder in the user's own cache. Entries
    that exist beside the data are read in either case.

    Args:
        folder: The data folder.
        chosen: The folder of the cache, if the user has chosen one.
    """

    def __init__(self, folder: Path, chosen: Path | None = None) -> None:
        self.folder = folder
        self.is_chosen = chosen is not None
        self.places = (folder / BESIDE, *filter(None, [_own_cache(folder)])) if chosen is None else (chosen,)

    def find(self, name: str) -> Path | None:
        """The existing entry of that name; `None` if there is none."""
        return next((place / name for place in self.places if _exists(place / name)), None)

    def writable(self) -> Path:
        """The first folder that can be written; it is made if missing, and a warning says if it is not beside the data.

        Raises:
            StorageError: No folder can be written.
        """
        if self.is_chosen:
            return self.places[0]  # The caller reports what is wrong with it.
        problems = []
        for place in self.places:
            problem = _problem(place)
            if problem is None:
                break
            problems.append(f"{place} cannot be written ({problem})")
        else:
            hint = "choose a folder with `cache:` under `data:` in a YAML file"
            raise StorageError(f"no folder for decoded clips: {', '.join(problems)}", where=self.folder, hint=hint)
        if problems:
            logger.warning("%s; decoded clips are kept in %s", problems[0], place)
        return place


def _problem(folder: Path) -> str | None:
    """Why a folder cannot be written; `None` if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as problem:
        return problem.strerror or str(problem)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A folder that this user may not look into.
        return False


def _own_cache(folder: Path) -> Path | None:
    """The folder for this data in the user's own cache; `None` for a user without a home."""
    whole = os.path.realpath(folder)
    try:
        return cache_folder() / "nas" / f"{Path(whole).name[:40]}-{fingerprint(whole)}"
    except RuntimeError:
        return None
