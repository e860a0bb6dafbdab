"""The processes of a run, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, gather_object

from nas.environment import check_settings, launcher_alone, wants_cpu
from nas.errors import NasError
from nas.training.engine.settings import LoopConfig

T = TypeVar("T")


def only_cpu() -> bool:
    """Whether to train on processors: there is no accelerator, or accelerate's configuration rules it out.

    Accelerate joins processes on CPUs only when it is told so.
    """
    return wants_cpu() or not (torch.cuda.is_available() or torch.backends.mps.is_available())


def processes() -> PartialState:
    """The processes that a launcher (`accelerate launch`, `torchrun`) has started, or this one alone.

    Whoever asks accelerate first decides for the whole program, so everything in nas asks here.

    Raises:
        ConfigError: The launcher's variables contradict each other.
    """
    cpu = only_cpu()
    with launcher_alone():
        return PartialState(cpu=cpu)


def make_accelerator(config: LoopConfig) -> Accelerator:
    """The accelerator of a run; sub-networks leave parameters unused, which DDP must be told.

    Raises:
        ConfigError: Variables of accelerate or of the launcher ask for something else than the run's settings.
    """
    check_settings(config.mixed_precision, config.gradient_accumulation)
    cpu = processes().device.type == "cpu"
    # Accelerate keeps the precision of a program's first run for all others, and refuses another one.
    AcceleratorState._reset_state()
    with launcher_alone():
        return Accelerator(
            cpu=cpu,
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )


def from_main(make: Callable[[], T]) -> T:
    """What the main process makes, in all of them: what all decide by must not differ in its last bits.

    Raises:
        NasError: What the main process could not do, in all of them.
    """
    made: list[Any] = [_attempt(make) if processes().is_main_process else None]
    broadcast_object_list(made)
    value: T = _unless_failed(made[0])
    return value


def from_all(make: Callable[[], T]) -> list[T]:
    """What each process makes, in all of them, in the order of the processes.

    Raises:
        NasError: What the first of those that failed could not do, in all of them.
    """
    return [_unless_failed(each) for each in gather_object([_attempt(make)])]


def _attempt(make: Callable[[], T]) -> T | NasError:
    try:
        return make()
    except NasError as error:
        return error


def _unless_failed(made: Any) -> Any:
    if isinstance(made, NasError):
        raise made
    return made
