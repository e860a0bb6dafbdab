"""Worker processes on this machine: started together, watched, and ended together.

A worker's standard output is a channel of messages, one JSON object per line. Its standard error is text, and its
standard input closes when this process ends, however it ends. A worker has a session of its own, so Ctrl-C in the
terminal reaches this process alone, which then ends the workers in order.
"""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

ENDING_S = 15.0
"""Seconds that workers have to release what they are scoring, before they are killed. Kubernetes waits 30 s in all."""

_LOOK_S = 0.2
"""Seconds between two looks at which processes are alive."""

_DRAIN_S = 2.0
"""Seconds to read what an ended worker left in its pipes; a process that it started may keep them open for longer."""


@dataclass(frozen=True)
class Told:
    """A message of a worker.

    Args:
        worker: Its number, from 1.
        message: The message.
    """

    worker: int
    message: Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """A line that a worker wrote to standard error.

    Args:
        worker: Its number, from 1.
        line: The line, without its end.
    """

    worker: int
    line: str


@dataclass(frozen=True)
class Ended:
    """The end of a worker.

    Args:
        worker: Its number, from 1.
        code: Its exit code, or the negative number of the signal that killed it.
        last_line: The last line that it wrote to standard error; empty without one.
    """

    worker: int
    code: int
    last_line: str

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.code >= 0:
            return f"ended with exit code {self.code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"was killed by signal {-self.code}"


Event = Told | Said | Ended


class WorkerPool:
    """Workers; those still alive at the end of the `with` block are ended.

    Args:
        commands: The command line of each worker.
        variables: The environment of all of them.
    """

    def __init__(self, commands: Sequence[Sequence[str]], variables: Mapping[str, str]) -> None:
        self._commands, self._variables = commands, variables
        self._events: queue.Queue[Event] = queue.Queue()
        self._alive: dict[int, _Process] = {}
        self.forced: list[int] = []
        """Numbers of the workers that had to be killed at the end."""

    def __enter__(self) -> WorkerPool:
        """Start the workers."""
        try:
            for number, command in enumerate(self._commands, start=1):
                self._alive[number] = _Process(number, command, self._variables, self._events)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the workers that are still alive."""
        self._end()

    def events(self) -> Iterator[Event]:
        """What workers tell, say and end with, as it happens, until all have ended."""
        while self._alive:
            with contextlib.suppress(queue.Empty):
                yield self._events.get(timeout=_LOOK_S)
            for worker in [worker for worker in self._alive.values() if worker.process.poll() is not None]:
                worker.drain()
                while not self._events.empty():
                    yield self._events.get()
                del self._alive[worker.number]
                yield Ended(worker.number, worker.process.returncode, worker.last_line)

    def _end(self) -> None:
        """Interrupt the workers; kill those that take too long, and all of them at a second Ctrl-C."""
        try:
            for worker in self._alive.values():
                worker.process.terminate()
            until = time.monotonic() + ENDING_S
            for worker in self._alive.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, until - time.monotonic()))
        finally:
            self.forced += [worker.number for worker in self._alive.values() if worker.process.poll() is None]
            for worker in self._alive.values():
                worker.process.kill()
                worker.process.wait()
                worker.drain()
            self._alive.clear()


class _Process:
    """One worker, and the threads that read what it writes."""

    def __init__(
        self, number: int, command: Sequence[str], variables: Mapping[str, str], events: queue.Queue[Event]
    ) -> None:
        self.number, self.last_line, self._events = number, "", events
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=dict(variables), text=True,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        readers = ((self.process.stdout, self._told), (self.process.stderr, self._said))
        self._threads = [threading.Thread(target=self._read, args=reader, daemon=True) for reader in readers]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[str], note: Any) -> None:
        for line in stream:
            if text := line.rstrip():
                note(text)

    def _told(self, line: str) -> None:
        self._events.put(Told(self.number, json.loads(line)))

    def _said(self, line: str) -> None:
        self.last_line = line
        self._events.put(Said(self.number, line))

    def drain(self) -> None:
        """Read the rest of what the ended worker wrote."""
        for thread in self._threads:
            thread.join(_DRAIN_S)
        streams = (self.process.stdin, self.process.stdout, self.process.stderr)
        for stream in streams if not any(thread.is_alive() for thread in self._threads) else ():
            if stream is not None:
                stream.close()
