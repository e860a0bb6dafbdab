"""Coroutines called from ordinary functions: a library whose calls are asynchronous, used like any other.

The loop runs in a thread of its own, so that callers may have a loop themselves, as in a notebook. Handing a call over
takes about 20 microseconds.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


def wait(coroutine: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine to its end, and return its result or raise its exception. Not for use within the loop."""
    return submit(coroutine).result()


def submit(coroutine: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
    """Start a coroutine without waiting for it."""
    return asyncio.run_coroutine_threadsafe(coroutine, _loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="nas event loop", daemon=True).start()
    return loop


# A forked process has no thread that runs the loop.
os.register_at_fork(after_in_child=_loop.cache_clear)
