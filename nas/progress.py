"""Progress bars for work longer than two seconds, without output if there is no terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nas.environment import launcher

logger = logging.getLogger("nas")

Advance = Callable[[str], None]
"""Called once per finished unit of work with a short status text (may be empty)."""


def is_first_process() -> bool:
    """Whether this is the first of the processes that a launcher has started, which prints; raises as `launcher`."""
    return launcher().rank == 0


class Bar:
    """A progress bar; calling it advances it by one unit.

    Args:
        bars: The display.
        task: The bar in it.
    """

    def __init__(self, bars: Progress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def __call__(self, status: str) -> None:
        """One more unit is finished."""
        self._bars.update(self._task, advance=1, status=status)

    def reach(self, done: int, status: str) -> None:
        """Set the total number of finished units, including those of other processes."""
        self._bars.update(self._task, completed=done, status=status)

    def say(self, status: str) -> None:
        """Change the text beside the bar."""
        self._bars.update(self._task, status=status)


@contextlib.contextmanager
def progress_bar(label: str, total: int, done: int = 0) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs.

    Args:
        label: The work, e.g. `training supernet`.
        total: Total units of work.
        done: Units that an earlier, interrupted run has finished.

    Yields:
        The bar. Call it after each unit, with a status text to show beside it.
    """
    columns = (
        TextColumn("{task.description:<20}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not is_first_process()) as bars:
        task = bars.add_task(label, total=total, completed=done, status="")
        yield Bar(bars, task)
