"""`--workers`: several processes on this machine that run the command together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nas.search.workers.watching import Crew

WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        max=256,
        help="Number of processes on this machine; more than one need a study in PostgreSQL. Each uses an equal share "
        "of the processors, or as many threads as OMP_NUM_THREADS says, and the GPUs in turn.",
    ),
]


def starts_workers(workers: int, storage: str) -> bool:
    """Whether this process starts workers, rather than being one of them or the only one.

    Args:
        workers: Number of processes.
        storage: Where the study is kept; checked if it has to serve several processes.

    Raises:
        StorageError: It is a SQLite file, or cannot be opened.
        ConfigError: A launcher has started several processes already.
    """
    from nas.environment import launcher
    from nas.errors import ConfigError, StorageError
    from nas.search.storage.address import shown, study_file
    from nas.search.storage.studies import check_server
    from nas.search.workers.child import is_worker

    if workers == 1 or is_worker():
        return False
    if launcher().world_size > 1:
        raise ConfigError("a launcher has started several processes already", where=f"--workers {workers}",
                          hint="leave --workers out")  # fmt: skip
    if study_file(storage) is not None:
        raise StorageError(
            f"a SQLite file serves one process at a time, not {workers}",
            where=shown(storage),
            hint="keep the study in PostgreSQL (--storage postgresql://user@host/base, see docs/workers.md), "
            "or leave --workers out",
        )
    check_server(storage)
    return True


def run_workers(workers: int, storage: str, study: str, label: str) -> Crew:
    """Run this command line in several processes, and wait until all have ended.

    Args:
        workers: Number of processes.
        storage: A storage URL.
        study: Name of the study.
        label: The label of their progress bar.

    Raises:
        NasError: All of them died.
    """
    from functools import partial

    from nas.environment import worker_variables
    from nas.processors import processors
    from nas.search.workers.child import ending_in_order
    from nas.search.workers.owners import free_trials_of
    from nas.search.workers.watching import watch_workers

    variables = worker_variables(max(processors() // workers, 1))
    died = partial(free_trials_of, storage=storage, study_name=study)
    with ending_in_order():
        return watch_workers([_command(number + 1) for number in range(workers)], variables, label, died)


def crew_document(crew: Crew) -> dict[str, Any]:
    """The number of workers, and those that died, as plain data."""
    return {"workers": crew.size, "died": [asdict(death) for death in crew.deaths]}


def _command(number: int) -> Sequence[str]:
    """The command line of one worker: that of this process, in which a worker takes --workers as 1.

    If the current folder is not searched for modules, as by the `nas` script, a worker does not search it either.
    """
    folder = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
    return [sys.executable, *folder, "-m", "nas.cli._worker", str(number), *sys.argv[1:]]
