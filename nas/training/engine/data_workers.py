"""Batches that worker processes make, in the order in which a run asks for them.

A batch depends on its number alone. So workers make the batches that the run itself would make, and a resumed run asks
for the numbers that the interrupted one had not reached.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Generic

import torch
from torch.utils.data import DataLoader, Dataset

from nas.errors import ConfigError, NasError, TrainingError
from nas.training.engine.task import BatchT

logger = logging.getLogger(__name__)

AHEAD = 2
"""Batches that each worker makes in advance."""


class WorkerBatches(Generic[BatchT]):
    """Makes the batches of a run in worker processes, through torch's `DataLoader`.

    Args:
        make: Makes the batch of a micro-step, by number; it is sent to the workers.
        workers: Number of workers, 1 or more.
        pinned: Whether batches are put into pinned memory, from which a graphics card copies in the background.
    """

    def __init__(self, make: Callable[[int], BatchT], workers: int, *, pinned: bool = False) -> None:
        self._made_by, self._workers, self._pinned = _Numbered(make), workers, pinned
        self._coming: Iterator[BatchT | NasError] | None = None
        self._next = 0

    def __call__(self, number: int) -> BatchT:
        """The batch of a micro-step. Any other than the next one takes new workers.

        Raises:
            ConfigError: `make` cannot be sent to another process.
            NasError: `make` raised it.
            TrainingError: A worker was killed.
        """
        if self._coming is None or number != self._next:
            self.close()
            self._start(number)
        self._next = number + 1
        return self._received()

    def close(self) -> None:
        """End the workers."""
        self._coming = None

    def _start(self, number: int) -> None:
        """Start workers that make the batches from one on."""
        # Workers are forks of a process that has only imported what they need: no thread or lock is lost in a fork, and
        # they hold neither a graphics card nor the lock of the run's folder.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([type(self._made_by.make).__module__, __name__])
        loader = DataLoader(
            self._made_by,
            batch_size=None,
            sampler=itertools.count(number),
            num_workers=self._workers,
            collate_fn=_unchanged,
            pin_memory=self._pinned,
            worker_init_fn=_begin,
            multiprocessing_context=context,
            prefetch_factor=AHEAD,
            generator=torch.Generator(),  # otherwise it takes a number from the generator that dropout uses
        )
        with _sending():
            self._coming = iter(loader)

    def _received(self) -> BatchT:
        assert self._coming is not None
        try:
            made = next(self._coming)
        except (RuntimeError, EOFError, ConnectionError) as error:
            if not _comes_of_a_killed_worker(error):
                raise
            raise TrainingError(
                "a process that makes batches was killed",
                hint="memory may be short, or /dev/shm full: set data_workers lower, or 0; the same command resumes",
            ) from error
        if isinstance(made, NasError):
            raise made
        return made


def _comes_of_a_killed_worker(error: Exception) -> bool:
    """Whether the loader found a worker killed, or its connection broke while it sent; not an error of the clips."""
    if isinstance(error, RuntimeError):
        return "DataLoader worker (pid" in str(error)
    return not str(error).startswith("Caught ")  # as the loader begins errors that a worker has met


class _Numbered(Dataset["BatchT | NasError"], Generic[BatchT]):
    """Batches by number, as `DataLoader` asks for them. A user's mistake is returned, to be raised as it is."""

    def __init__(self, make: Callable[[int], BatchT]) -> None:
        self.make = make

    def __getitem__(self, number: int) -> BatchT | NasError:
        try:
            return self.make(number)
        except NasError as error:
            return error


def _unchanged(batch: BatchT) -> BatchT:
    return batch


def _begin(_number: int) -> None:
    """Prepare a worker: it ends with the process that it works for, however that ends, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("nas").setLevel(logging.ERROR)  # the process that opened the clips has logged the warnings
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def default_workers(make: Callable[[int], object], device: torch.device, *, decodes: bool) -> int:
    """How many workers a run has whose settings leave it open.

    A processor is busy with the network, and makes batches itself. For a graphics card, a thread is enough unless
    videos are decoded (`benchmarks/input_pipeline.py`).

    Args:
        make: Makes the batch of a micro-step, by number.
        device: Device of the run.
        decodes: Whether that decodes videos.
    """
    if device.type != "cuda" or not decodes:
        return 0
    try:
        with _sending():
            pickle.dumps(make)
    except ConfigError as error:
        logger.warning("%s; the run makes its batches itself", error.what)
        return 0
    return 2


@contextlib.contextmanager
def _sending() -> Iterator[None]:
    """Raise `ConfigError` if this process cannot start others, or cannot send them what they need."""
    hint = "set data_workers: 0"
    if multiprocessing.current_process().daemon:
        raise ConfigError("a worker process of another program cannot start workers for batches", hint=hint)
    try:
        with _script_hidden(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got pickle error")  # the error below says it
            yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(f"the clips of this run cannot be sent to worker processes: {error}", hint=hint) from error


@contextlib.contextmanager
def _script_hidden() -> Iterator[None]:
    """Keep new processes from running the user's script again, which may start a training without a guard."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
