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
        repeated: Micro-batches of a step, which each of its phases asks for.
    """

    def __init__(self, make: Callable[[int], BatchT], thread: ThreadPoolExecutor, repeated: int = 1) -> None:
        self._make, self._thread, self._repeated = make, thread, repeated
        self._made: dict[int, Future[BatchT]] = {}

    def __call__(self, number: int) -> BatchT:
        """The batch of a micro-step. An error of `make` is raised here."""
        used = self._leave_out(number - self._repeated, number + AHEAD + self._repeated)
        for index in range(number, number + AHEAD + 1):
            if index not in self._made:
                self._made[index] = self._thread.submit(self._make, index)
        if used:
            self._thread.submit(used.clear)
        return self._made[number].result()

    def _leave_out(self, first: int, end: int) -> list[Future[BatchT]]:
        """Forget all batches but those from `first` to before `end`; returns the forgotten ones.

        To free a batch of a worker takes a millisecond, because its memory is mapped. The thread does it. So that it
        has the last reference, `first` is before the batch that the loop holds.
        """
        used = [made for index, made in self._made.items() if not first <= index < end]
        self._made = {index: made for index, made in self._made.items() if first <= index < end}
        return used


@contextlib.contextmanager
def prefetched(
    make: Callable[[int], BatchT], device: torch.device, *, workers: int = 0, repeated: int = 1
) -> Iterator[Callable[[int], BatchT]]:
    """Make batches in advance, by workers if there are any, or else by a thread if the run computes on a graphics card.

    A processor is busy with the network. Without workers, it makes them when they are asked for.

    Args:
        make: Makes the batch of a micro-step, by number; it is sent to the workers.
        device: Device of the run.
        workers: Number of worker processes.
        repeated: Micro-batches of a step, which each of its phases asks for.
    """
    if not workers and device.type != "cuda":
        yield make
        return
    with contextlib.ExitStack() as stack:
        if workers:
            make = stack.enter_context(contextlib.closing(WorkerBatches(make, workers, pinned=device.type == "cuda")))
        thread = ThreadPoolExecutor(1, thread_name_prefix="batches")  # which also takes them out of shared memory
        stack.callback(thread.shutdown, cancel_futures=True)
        yield Prefetched(make, thread, repeated)
