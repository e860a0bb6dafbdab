"""Watching the worker processes of one machine: one progress bar for all, and a report of those that die."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.errors import NasError
from nas.formatting import printable
from nas.progress import Bar, Step, progress_bar
from nas.search.workers.child import as_step
from nas.search.workers.pool import Ended, Event, Said, Told, WorkerPool

logger = logging.getLogger("nas")

_ERROR = "error: "
"""How the last line of a command begins that ended with an error."""


@dataclass(frozen=True)
class Death:
    """A worker that ended without a result.

    Args:
        worker: Its number, from 1.
        how: How it ended, in words.
        error: The last line that it wrote to standard error; empty without one.
        code: Its exit code, or the negative number of the signal that killed it.
    """

    worker: int
    how: str
    error: str
    code: int

    def __str__(self) -> str:
        return f"worker {self.worker} {self.how}{': ' if self.error else ''}{self.error}"


@dataclass
class Crew:
    """What workers have handed over, and who died.

    Args:
        size: Number of workers.
        results: What each worker handed over, in the order in which they ended.
        deaths: The workers that ended without a result.
    """

    size: int
    results: list[Mapping[str, Any]] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)

    def merged(self, **ways: Callable[[list[Any]], Any]) -> dict[str, Any]:
        """What the workers that ended well have handed over, as one.

        Args:
            ways: By name, how to merge the values of all; values without one are numbers, which are added.
        """
        columns = {name: [result[name] for result in self.results] for name in self.results[-1]}
        return {name: ways.get(name, sum)(values) for name, values in columns.items()}


def watch_workers(
    commands: Sequence[Sequence[str]],
    variables: Mapping[str, str],
    label: str,
    died: Callable[[str], object],
) -> Crew:
    """Start workers and wait until all have ended. An exception, such as Ctrl-C, ends them.

    Args:
        commands: The command line of each worker.
        variables: The environment of all of them.
        label: The label of the workers' progress bar.
        died: Called with the name of a worker that died, as in `owners`.

    Raises:
        NasError: All of them died; the message has the last error. Its exit code is 1 if that was a defect.
    """
    watch, pool = _Watch(Crew(len(commands)), label, died), WorkerPool(commands, variables)
    try:
        with progress_bar(label, None) as bar, pool:
            bar.say(f"{len(commands)} workers start")
            try:
                for event in pool.events():
                    watch.note(event, bar)
            except BaseException:
                bar.say("ending the workers")
                raise
    finally:
        for worker in pool.forced:
            watch.free(worker)
    if not watch.crew.results:
        raise _all_died(watch.crew.deaths)
    return watch.crew


class _Watch:
    """Turns the events of workers into a bar, log messages and results."""

    def __init__(self, crew: Crew, label: str, died: Callable[[str], object]) -> None:
        self.crew, self.label, self.died = crew, label, died
        self.done = 0
        self.total: int | None = None
        self._names: dict[int, str] = {}
        self._finished: set[int] = set()
        self._said: dict[str, int] = {}

    def note(self, event: Event, bar: Bar) -> None:
        match event:
            case Told(worker, {"results": results}):
                self._finished.add(worker)
                self.crew.results.append(results)
            case Told(worker, {"name": name}):
                self._names[worker] = name
            case Told(_, {"step": step}):
                self._advance(as_step(step), bar)
            case Said():
                self._say(event)
            case Ended() if event.worker not in self._finished:
                self._lose(event)

    def free(self, worker: int) -> None:
        """Tell that a worker is dead."""
        if worker in self._names:
            self.died(self._names[worker])

    def _advance(self, step: Step, bar: Bar) -> None:
        """Each worker counts the results of all; the highest count is the latest, until the total changes."""
        if step.label == self.label and (step.done >= self.done or step.total != self.total):
            self.done, self.total = step.done, step.total
            bar.reach(step.done, step.status, step.total)

    def _say(self, said: Said) -> None:
        """Show a line, once if all workers say the same; how a worker ends is shown with its end."""
        first = self._said.setdefault(said.line, said.worker)
        if first == said.worker and not said.line.startswith(_ERROR):
            sys.stderr.write(f"worker {said.worker}: {printable(said.line)}\n")

    def _lose(self, ended: Ended) -> None:
        death = Death(ended.worker, ended.how, ended.last_line.removeprefix(_ERROR), ended.code)
        self.crew.deaths.append(death)
        self.free(ended.worker)
        left = self.crew.size - len(self.crew.deaths) - len(self._finished)
        if left:
            logger.warning("%s; %d of %d workers go on", death, left, self.crew.size)
        else:
            logger.info("%s", death)


def _all_died(deaths: Sequence[Death]) -> NasError:
    """The error of workers that all died; the same one of all of them is said once."""
    last, count = deaths[-1], len(deaths)
    if last.code < 0:
        what = f"all {count} workers died, the last one {last.how}"
        return NasError(what, hint="memory may be short: use fewer workers; the same command resumes")
    said = last.error or f"the last one {last.how}"
    error = NasError(f"all {count} workers died: {said}")
    error.exit_code = NasError.exit_code if any(death.code == NasError.exit_code for death in deaths) else 1
    return error
