"""The folder of a run, and of one run at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nas.files import check_output_folder, hold, remove_temporaries
from nas.files.locks import LOCK_FILE
from nas.training.engine.processes import from_main

CHECKPOINTS = "checkpoints"
"""Name of the folder of a run's checkpoints."""


@contextlib.contextmanager
def run_folder(folder: Path, makes: str) -> Iterator[None]:
    """Hold a run's folder, for all processes of the run together, from before its first step until its result is there.

    What killed processes have left of checkpoints is removed. A run that is refused leaves no new folder.

    Args:
        folder: The folder; made where it is missing.
        makes: Kind and name of the folder that the run makes in it, e.g. `model`.

    Raises:
        StorageError: Another run is using the folder, it cannot be written, or what the run makes would take the place
            of files that were not made here. In all processes.
    """
    with contextlib.ExitStack() as held:

        def take() -> None:
            check_output_folder(folder / makes, makes)
            is_new = not folder.exists()
            held.enter_context(hold(folder))
            if is_new:
                held.callback(_remove_if_unused, folder)
            remove_temporaries(folder / CHECKPOINTS)

        from_main(take)
        yield


def _remove_if_unused(folder: Path) -> None:
    """Remove a folder in which there is nothing but its lock, while that is held."""
    with contextlib.suppress(OSError):  # it is gone, or another process waits for it already
        if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()
