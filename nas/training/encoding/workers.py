"""Encoding with several worker processes on this machine."""

from __future__ import annotations

import json
import logging
import multiprocessing
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from nas.data import VALIDATION_FRACTION, ClipsConfig, LatentsConfig
from nas.data.config import ValidationFraction
from nas.data.latents.manifest import LatentIndex, Precision, Side
from nas.errors import ConfigError, NasError
from nas.files import StrictModel
from nas.processors import processors
from nas.progress import Bar, progress_bar
from nas.space import SearchSpace
from nas.training.encoding.job import EncodingJob
from nas.training.encoding.manifest import SHARD_BYTES, make_manifest
from nas.training.engine.processes import only_cpu, processes
from nas.training.flow.clips import open_clips

_POLL_S = 0.5


class EncodingSettings(StrictModel):
    """Settings of an encoding.

    Args:
        split: Clips to encode: those for training, those held out for validation, or all.
        dtype: Type of stored numbers.
        shard_bytes: Size of a shard; it holds at least one clip.
        validation_fraction: Share of the files to hold out.
    """

    split: Literal["train", "validation", "all"] = "all"
    dtype: Precision = "float16"
    shard_bytes: Annotated[int, Field(ge=1, le=2**50)] = SHARD_BYTES
    validation_fraction: ValidationFraction = VALIDATION_FRACTION

    @property
    def sides(self) -> tuple[Side, ...]:
        """Sides of the split to encode."""
        return ("train", "validation") if self.split == "all" else (self.split,)


@dataclass(frozen=True)
class EncodingRequest:
    """A request to encode clips. It can be sent to another process.

    Args:
        space: Search-space file, which names codec and text encoder.
        data: The clips.
        base: Folder that a relative path in `data` starts from.
        folder: Folder for the shards.
        settings: Settings of the encoding.
    """

    space: Path
    data: ClipsConfig
    base: Path
    folder: Path
    settings: EncodingSettings

    def job(self, device: torch.device) -> EncodingJob:
        """Open the clips and make the job on a device."""
        space = SearchSpace.load(self.space)
        fraction = self.settings.validation_fraction
        data = open_clips(self.data, space, base=self.base, validation_fraction=fraction)
        manifest = make_manifest(
            space,
            data,
            sides=self.settings.sides,
            dtype=self.settings.dtype,
            shard_bytes=self.settings.shard_bytes,
            validation_fraction=fraction,
        )
        return EncodingJob(space, data, manifest, self.folder, device)


def encode_clips(request: EncodingRequest, *, workers: int = 1) -> LatentIndex:
    """Encode clips into a folder. An interrupted run resumes, and several runs share the work.

    Args:
        request: What to encode.
        workers: Number of processes. They are distributed over the GPUs, if there are any.

    Raises:
        DataError: The clips cannot be read or stored, or the folder holds something else.
        NasError: A worker process was killed.
    """
    if isinstance(request.data, LatentsConfig):
        hint = "give the clips that they were encoded from"
        raise ConfigError("these clips are encoded already", where=request.base / request.data.path, hint=hint)
    if workers > 1 and processes().num_processes > 1:
        raise ConfigError("a launcher has started several processes already", hint="leave --workers out")
    with processes().main_process_first():  # one process decodes, the others read what it made
        job = request.job(processes().device)
    job.begin()
    with progress_bar("encoding clips", len(job.shards), job.done()) as bar:
        if workers == 1:
            _work(job, bar)
        else:
            _share(request, job, workers, bar)
    return job.finish()


def _work(job: EncodingJob, bar: Bar) -> None:
    looked_s = time.monotonic()

    def look() -> bool:
        nonlocal looked_s
        if time.monotonic() > looked_s + _POLL_S:
            bar.reach(job.done(), "")
            looked_s = time.monotonic()
        return False

    job.work(look)
    bar.reach(job.done(), "")


def _share(request: EncodingRequest, job: EncodingJob, workers: int, bar: Bar) -> None:
    """Start workers and wait for all of them."""
    # Workers are forks of a process that has only imported nas: they start quickly, and no thread is lost in a fork.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    started: list[tuple[BaseProcess, Connection]] = []
    for number in range(workers):
        receiver, sender = context.Pipe(duplex=False)
        process: BaseProcess = context.Process(target=_worker, args=(request, number, workers, sender), daemon=True)
        process.start()
        sender.close()
        started.append((process, receiver))
    try:
        _wait(started, job, bar)
    finally:
        for process, _ in started:
            process.terminate()


def _wait(started: Sequence[tuple[BaseProcess, Connection]], job: EncodingJob, bar: Bar) -> None:
    waiting = {receiver: (number, process) for number, (process, receiver) in enumerate(started, start=1)}
    while waiting:
        for receiver in wait(list(waiting), _POLL_S):
            assert isinstance(receiver, Connection)
            number, process = waiting.pop(receiver)
            _raise_reported(receiver)
            process.join()
            if process.exitcode:
                raise _ended(number, process.exitcode)
        bar.reach(job.done(), "")


def _raise_reported(receiver: Connection) -> None:
    """Raise the error that a worker has reported, if any."""
    try:
        name, what, where, hint = json.loads(receiver.recv_bytes())
    except EOFError:
        return
    kinds = {kind.__name__: kind for kind in NasError.__subclasses__()}
    raise kinds.get(name, NasError)(what, where=where, hint=hint)


def _ended(number: int, code: int) -> Exception:
    if code < 0:
        hint = "memory may be short: use fewer workers; the same command resumes"
        return NasError(f"worker {number} was killed by {signal.Signals(-code).name}", hint=hint)
    return RuntimeError(f"worker {number} failed")


def _worker(request: EncodingRequest, number: int, workers: int, sender: Connection) -> None:
    """Main function of a worker, which ends when the process that started it is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    logging.getLogger("nas").setLevel(logging.ERROR)  # The process that started it has logged the warnings already.
    torch.set_num_threads(max(processors() // workers, 1))
    try:
        job = request.job(_device(number))
        job.work(lambda: not parent.is_alive())
    except NasError as error:
        sender.send_bytes(json.dumps([type(error).__name__, error.what, error.where, error.hint]).encode())
    except KeyboardInterrupt:
        return


def _device(number: int) -> torch.device:
    if only_cpu():
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    return torch.device("mps")
