"""Where decoded clips and indices of tars are kept: beside the data, or in a cache of the user's where that fails."""

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
    """Where what was found out of some data is kept.

    Without a choice that is `.nas-cache` in the folder of the data, so that all users and machines share it. Where that
    cannot be written (a read-only file system, another user's folder), it is a folder of the user's own cache; what
    stands beside the data already is read all the same.

    Args:
        folder: Of the data.
        chosen: The only place, where one was chosen.
    """

    def __init__(self, folder: Path, chosen: Path | None = None) -> None:
        self.folder = folder
        self.is_chosen = chosen is not None
        self.places = (folder / BESIDE, *filter(None, [_own_cache(folder)])) if chosen is None else (chosen,)

    def find(self, name: str) -> Path | None:
        """What is kept under a name already; `None` where there is nothing."""
        return next((place / name for place in self.places if _exists(place / name)), None)

    def writable(self) -> Path:
        """The first place that can be written, made where it is missing; if it is not beside the data, that is said.

        Raises:
            StorageError: There is none.
        """
        if self.is_chosen:
            return self.places[0]  # Who writes there says what is wrong with it.
        problems = []
        for place in self.places:
            problem = _problem(place)
            if problem is None:
                break
            problems.append(f"{place} cannot be written ({problem})")
        else:
            hint = "choose a folder with `cache:` under `data:` in a YAML file"
            raise StorageError(f"nowhere to keep what is decoded: {', '.join(problems)}", where=self.folder, hint=hint)
        if problems:
            logger.warning("%s; what is decoded is kept in %s", problems[0], place)
        return place


def _problem(folder: Path) -> str | None:
    """Why nothing can be written into a folder; `None` where it can."""
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
    """The folder of the user's own cache for the data in `folder`; `None` for a user without a home."""
    whole = os.path.realpath(folder)
    try:
        return cache_folder() / "nas" / f"{Path(whole).name[:40]}-{fingerprint(whole)}"
    except RuntimeError:
        return None
