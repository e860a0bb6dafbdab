"""Progress bars for anything longer than two seconds, silent where nobody watches."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

logger = logging.getLogger("nas")

Advance = Callable[[str], None]
"""Called once per finished unit of work with a short status text (may be empty)."""


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those a launcher has started."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def progress_bar(label: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Show a bar on standard error while the block runs.

    Args:
        label: What is being done, e.g. `training supernet`.
        total: Units of work in all.
        done: Units finished in an earlier, interrupted run.

    Yields:
        A function to call after each unit, with a status text to show beside the bar.
    """
    columns = (
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not is_first_process()) as bars:
        task = bars.add_task(label, total=total, completed=done, status="")

        def advance(status: str) -> None:
            bars.update(task, advance=1, status=status)

        yield advance
