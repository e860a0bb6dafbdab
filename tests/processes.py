"""Processes that can be killed for real, and start in an instant: each is a fork of one that has imported nas.

A Python that imports nas takes five seconds to start, and a test that kills ten of them a minute to no purpose. What
they are forked from has imported only, and run nothing: no thread is lost in a fork, no state is shared.

All workers of a whole run of the tests have one such process, since its imports take ten seconds and half a gigabyte.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import runpy
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from tests import libraries

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.everything", __name__])
# A program has one server. The lists that nas, benchmarks and the fuzzer give it would take the place of this one.
multiprocessing.forkserver.set_forkserver_preload = lambda names: None  # type: ignore[assignment]
_SERVER: Any = multiprocessing.forkserver._forkserver  # type: ignore[attr-defined]
_ADDRESS = "NAS_TESTS_FORK_SERVER"


def share() -> None:
    """Start the server for the workers that this process will start; it ends when this process does."""
    if sys.version_info < (3, 14):  # from then on a server answers only to those who know its key
        # It writes to the same terminal, and libraries complain at their import.
        errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            _SERVER.ensure_running()
        finally:
            os.dup2(errors, 2)
            os.close(errors)
            os.close(nowhere)
        os.environ[_ADDRESS] = _SERVER._forkserver_address


def _use_shared(address: str) -> None:
    _SERVER._forkserver_address = address
    _SERVER._forkserver_alive_fd = os.open(os.devnull, os.O_WRONLY)  # the server lives as long as who started it
    _SERVER.ensure_running = multiprocessing.resource_tracker.ensure_running


if _ADDRESS in os.environ:
    _use_shared(os.environ[_ADDRESS])


class Finished(NamedTuple):
    """What a program has ended with."""

    code: int | None
    out: str
    err: str


def start(folder: Path, function: Callable[..., Any], *arguments: Any, daemon: bool = True) -> BaseProcess:
    """Call a function in a process of its own; what it prints goes to `out.txt` and `err.txt` in a folder.

    Args:
        folder: Where the printed text goes.
        function: What to call.
        arguments: Its arguments.
        daemon: Whether the process ends with this one; such a process starts no processes itself.
    """
    process = _CONTEXT.Process(target=_run, args=(folder, function, *arguments), daemon=daemon)
    process.start()
    return process


def start_nas(folder: Path, *arguments: object) -> BaseProcess:
    """A command line of nas, in a process of its own."""
    return start(folder, nas_command, *map(str, arguments))


def finish(process: BaseProcess, folder: Path, timeout_s: float = 300) -> str:
    """Wait for a process to end well, and return what it has printed."""
    process.join(timeout_s)
    assert process.exitcode == 0, (folder / "err.txt").read_text()[-3000:]
    return (folder / "out.txt").read_text()


def run_script(folder: Path, script: Path, *arguments: object, timeout_s: float = 300) -> Finished:
    """Run a Python file as `cd folder; python script arguments` would."""
    process = start(folder, _script, folder, script, *map(str, arguments), daemon=False)
    process.join(timeout_s)
    if process.is_alive():
        process.kill()
        process.join()
    return Finished(process.exitcode, *((folder / f"{name}.txt").read_text() for name in ("out", "err")))


def _run(folder: Path, function: Callable[..., Any], *arguments: Any) -> None:
    for stream, name in ((sys.stdout, "out.txt"), (sys.stderr, "err.txt")):
        file = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, stream.fileno())
        os.close(file)
    libraries.speed_up()
    function(*arguments)


def nas_command(*arguments: str) -> None:
    """Run a command line of nas in this process."""
    from nas.cli import main

    sys.argv = ["nas", *arguments]
    main()


def _script(folder: Path, script: Path, *arguments: str) -> None:
    os.chdir(folder)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")
