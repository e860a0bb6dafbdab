"""Where decoded clips and indices of tars are kept: beside the data, or in a cache of the user's where that fails."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

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
        self.places = (chosen,) if chosen is not None else (folder / BESIDE, _own_cache(folder))

    def find(self, name: str) -> Path | None:
        """What is kept under a name already; `None` where there is nothing."""
        return next((place / name for place in self.places if _exists(place / name)), None)

    def writable(self) -> Path:
        """The first place that can be written, made where it is missing; if it is not beside the data, that is said.

        Raises:
            StorageError: There is none.
        """
        if len(self.places) == 1:
            return self.places[0]  # Who writes there says what is wrong with it.
        beside, own = self.places
        problem = _problem(beside)
        if problem is None:
            return beside
        if (_problem(own)) is not None:
            hint = "choose a folder with `cache:` under `data:` in a YAML file"
            raise StorageError(f"cannot be written ({problem}), nor can {own}", where=beside, hint=hint)
        logger.warning("%s: cannot be written (%s); what is decoded is kept in %s", beside, problem, own)
        return own


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


def _own_cache(folder: Path) -> Path:
    """The folder of the user's own cache for the data in `folder`."""
    base = os.environ.get("XDG_CACHE_HOME") or ("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    name = f"{folder.resolve().name[:40]}-{fingerprint(str(folder.resolve()))}"
    return Path(os.path.expanduser(base)) / "nas" / name  # noqa: PTH111 - unlike `Path.expanduser`, fails for nobody
