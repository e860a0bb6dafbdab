"""Batches made in advance, so that a graphics card does not wait for them: by worker processes, or by a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic

import torch

from nas.training.engine.data_workers import WorkerBatches
from nas.training.engine.task import BatchT

AHEAD = 2
"""Batches that are made in advance."""


class Prefetched(Generic[BatchT]):
    """Makes the next batches on a thread while a step is computed, one after the other.

    A batch depends on its number alone, so it does not matter when it is made.

    Args:
        make: Makes the batch of a micro-step, by number.
        thread: The thread; an executor with one worker.
    """

    def __init__(self, make: Callable[[int], BatchT], thread: ThreadPoolExecutor) -> None:
        self._make, self._thread = make, thread
        self._made: dict[int, Future[BatchT]] = {}

    def __call__(self, number: int) -> BatchT:
        """The batch of a micro-step. An error of `make` is raised here."""
        wanted = range(number, number + AHEAD + 1)
        # Each phase of a step asks for the same batches.
        self._made = {index: self._made.get(index) or self._thread.submit(self._make, index) for index in wanted}
        return self._made[number].result()


@contextlib.contextmanager
def prefetched(make: Callable[[int], BatchT], device: torch.device) -> Iterator[Callable[[int], BatchT]]:
    """Prefetch batches if the run computes on a graphics card; a CPU is busy with the network and makes them on demand.

    Args:
        make: Makes the batch of a micro-step, by number.
        device: Device of the run.
    """
    if device.type != "cuda":
        yield make
        return
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        yield Prefetched(make, thread)
    finally:
        thread.shutdown(cancel_futures=True)


@contextlib.contextmanager
def worked(
    make: Callable[[int], BatchT], device: torch.device, workers: int, repeated: int
) -> Iterator[Callable[[int], BatchT]]:
    """Have worker processes make batches; without workers, as `prefetched`.

    Args:
        make: Makes the batch of a micro-step, by number; it is sent to the workers.
        device: Device of the run.
        workers: Number of workers.
        repeated: Micro-batches of a step, which each of its phases asks for.
    """
    if workers == 0:
        with prefetched(make, device) as batches:
            yield batches
        return
    with contextlib.closing(WorkerBatches(make, workers, repeated=repeated, pinned=device.type == "cuda")) as made:
        yield made
