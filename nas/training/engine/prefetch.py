"""Batches made ahead of the step that they are for, so that a graphics card does not wait for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic

import torch

from nas.training.engine.task import BatchT

AHEAD = 2
"""Batches that are made beside the one that is asked for."""


class Prefetched(Generic[BatchT]):
    """Makes the next batches on a thread of its own while a step is computed, one after the other.

    A batch is decided by its number alone, so it is the same whoever makes it, and when.

    Args:
        make: Makes the batch of a micro-step, by number.
        thread: Makes them.
    """

    def __init__(self, make: Callable[[int], BatchT], thread: ThreadPoolExecutor) -> None:
        self._make, self._thread = make, thread
        self._made: dict[int, Future[BatchT]] = {}

    def __call__(self, number: int) -> BatchT:
        """The batch of a micro-step; raises what its making raised."""
        wanted = range(number, number + AHEAD + 1)
        # A phase of a step may ask again for what the phase before it had.
        self._made = {each: self._made.get(each) or self._thread.submit(self._make, each) for each in wanted}
        return self._made[number].result()


@contextlib.contextmanager
def prefetched(make: Callable[[int], BatchT], device: torch.device) -> Iterator[Callable[[int], BatchT]]:
    """Batches made ahead of a graphics card; on a CPU, which has the network to compute, when they are asked for.

    Args:
        make: Makes the batch of a micro-step, by number.
        device: Where the run computes.
    """
    if device.type != "cuda":
        yield make
        return
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        yield Prefetched(make, thread)
    finally:
        thread.shutdown(cancel_futures=True)
