"""Processes that can be killed for real, and start in an instant: each is a fork of one that has imported nas.

A Python that imports nas takes five seconds to start, and a test that kills ten of them a minute to no purpose. What
they are forked from has imported only, and run nothing: no thread is lost in a fork, no state is shared.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["nas.cli", "nas.pipeline", "onnxruntime", "onnxscript", __name__])


def start(folder: Path, function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function in a process of its own; what it prints goes to `out.txt` and `err.txt` in a folder."""
    process = _CONTEXT.Process(target=_run, args=(folder, function, *arguments), daemon=True)
    process.start()
    return process


def start_nas(folder: Path, *arguments: object) -> BaseProcess:
    """A command line of nas, in a process of its own."""
    return start(folder, _nas, *map(str, arguments))


def finish(process: BaseProcess, folder: Path, timeout_s: float = 300) -> str:
    """Wait for a process to end well, and return what it has printed."""
    process.join(timeout_s)
    assert process.exitcode == 0, (folder / "err.txt").read_text()[-3000:]
    return (folder / "out.txt").read_text()


def _run(folder: Path, function: Callable[..., Any], *arguments: Any) -> None:
    for stream, name in ((sys.stdout, "out.txt"), (sys.stderr, "err.txt")):
        file = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, stream.fileno())
        os.close(file)
    function(*arguments)


def _nas(*arguments: str) -> None:
    from nas.cli import main

    sys.argv = ["nas", *arguments]
    main()
