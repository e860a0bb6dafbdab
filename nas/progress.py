"""Progress bars for work longer than two seconds, without output if there is no terminal."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
        self._changed()

    def reach(self, done: int, status: str, total: int | None = None) -> None:
        """Set the number of finished units, including those of other processes, and the total if it was unknown."""
        self._bars.update(self._task, completed=done, status=status, total=total)
        self._changed()

    def say(self, status: str) -> None:
        """Change the text beside the bar."""
        self._bars.update(self._task, status=status)
        self._changed()

    def _changed(self) -> None:
        if _listeners:
            task = next(task for task in self._bars.tasks if task.id == self._task)
            total = None if task.total is None else int(task.total)
            _listeners[-1](Step(task.description, int(task.completed), total, str(task.fields["status"])))


@dataclass(frozen=True)
class Step:
    """The state of a bar, to show it elsewhere.

    Args:
        label: The work.
        done: Finished units.
        total: Units in all; `None` if that is unknown.
        status: The text beside the bar.
    """

    label: str
    done: int
    total: int | None
    status: str


_listeners: list[Callable[[Step], None]] = []


@contextlib.contextmanager
def telling(listener: Callable[[Step], None]) -> Iterator[None]:
    """Tell a listener each change of a bar while the block runs, and show no bars."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.pop()


@contextlib.contextmanager
def progress_bar(label: str, total: int | None, done: int = 0) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs.

    Args:
        label: The work, e.g. `training supernet`.
        total: Total units of work; `None` if that is not known yet.
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
    hidden = bool(_listeners) or not is_first_process()
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as bars:
        bar = Bar(bars, bars.add_task(label, total=total, completed=done, status=""))
        bar.say("")
        yield bar
