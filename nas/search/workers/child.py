"""A worker's side of `pool`: messages to the process that started it, and ending when that process is gone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from nas.progress import Step, telling
from nas.search.workers.owners import worker_name

_senders: list[Callable[[dict[str, Any]], None]] = []


@contextlib.contextmanager
def child_of_a_pool() -> Iterator[None]:
    """Tell the parent, while the block runs, each change of a progress bar, and what `hand_over` is given.

    Standard output carries the messages alone: what the block prints, user code included, goes to standard error.
    """
    channel = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    threading.Thread(target=_end_with_parent, args=(sys.stdin.fileno(),), name="parent", daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent is gone, which the thread notices
            os.write(channel, f"{json.dumps(message)}\n".encode())

    _senders.append(send)
    try:
        send({"name": worker_name()})
        with telling(lambda step: send({"step": [step.label, step.done, step.total, step.status]})):
            yield
    finally:
        _senders.pop()
        os.close(channel)


def is_worker() -> bool:
    """Whether a pool has started this process."""
    return bool(_senders)


def hand_over(**results: Any) -> bool:
    """Give the results of this process to the pool that started it; `False` without one."""
    for send in _senders:
        send({"results": results})
    return is_worker()


def as_step(message: list[Any]) -> Step:
    """The state of a progress bar, from a worker's message."""
    return Step(*message)


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while the block runs, so that what is being scored is released at once.

    Batch systems and Kubernetes end a process with SIGTERM. A second one changes nothing. In another than the main
    thread, where Python handles no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_parent(pipe: int) -> None:
    """Wait until the parent closes the pipe, then end this process in order."""
    while os.read(pipe, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
