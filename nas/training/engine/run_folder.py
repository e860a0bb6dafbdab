"""The folder of a run, which one run at a time may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from nas.files import check_output_folder, hold, remove_temporaries
from nas.files.locks import LOCK_FILE
from nas.training.engine.processes import from_main

CHECKPOINTS = "checkpoints"
"""Name of the folder of checkpoints in a run's folder."""


@contextlib.contextmanager
def run_folder(folder: Path, makes: str) -> Iterator[None]:
    """Hold a run's folder for all of the run's processes, from before the first step until the result is written.

    Unfinished checkpoints of killed processes are removed. A run that is refused leaves no new folder.

    Args:
        folder: The folder; created if it is missing.
        makes: Kind and name of the folder that the run makes in it, e.g. `model`.

    Raises:
        StorageError: Another run is using the folder, it cannot be written, or the result would replace files that
            were not made here. In all processes.
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
    """Remove a folder that holds only its lock file, while the lock is held."""
    with contextlib.suppress(OSError):  # it is gone, or another process already waits for it
        if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
            (folder / LOCK_FILE).unlink()
            folder.rmdir()
