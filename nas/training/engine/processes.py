"""The processes of a run, and how they exchange results and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, gather_object

from nas.environment import launcher_alone, wants_cpu
from nas.errors import NasError
from nas.training.engine.environment import check_environment
from nas.training.engine.settings import LoopConfig

T = TypeVar("T")


def only_cpu() -> bool:
    """Whether to train on the CPU: there is no accelerator, or accelerate's configuration excludes it.

    Accelerate joins processes on CPUs only when it is told to.
    """
    return wants_cpu() or not (torch.cuda.is_available() or torch.backends.mps.is_available())


def processes() -> PartialState:
    """State of the processes that a launcher (`accelerate launch`, `torchrun`) has started, or of this one alone.

    The first call of accelerate fixes the settings of the whole program, so all of nas calls this function.

    Raises:
        ConfigError: The launcher's variables contradict each other.
    """
    cpu = only_cpu()
    with launcher_alone():
        return PartialState(cpu=cpu)


def make_accelerator(config: LoopConfig, *, all_used: bool = False) -> Accelerator:
    """The accelerator of a run.

    Args:
        config: Settings.
        all_used: Whether each parameter that learns is used in every step. Otherwise DDP searches for the unused ones,
            which a sub-network of a supernet leaves.

    Raises:
        ConfigError: Environment variables of accelerate or of the launcher contradict the run's settings, or a tracker
            is not installed.
    """
    check_environment(config)
    cpu = processes().device.type == "cpu"
    # Accelerate would keep the precision of the program's first run, and refuse another one.
    AcceleratorState._reset_state()
    with launcher_alone():
        return Accelerator(
            cpu=cpu,
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=not all_used)],
        )


def from_main(make: Callable[[], T]) -> T:
    """Call a function in the main process, and return its result in all of them.

    What processes decide by must be equal in all of them, to the last bit.

    Raises:
        NasError: The function raised it; in all processes.
    """
    made: list[Any] = [_attempt(make) if processes().is_main_process else None]
    broadcast_object_list(made)
    value: T = _unless_failed(made[0])
    return value


def from_all(make: Callable[[], T]) -> list[T]:
    """Call a function in each process, and return all results in all of them, in the order of the processes.

    Raises:
        NasError: The error of the first process that failed; in all processes.
    """
    return [_unless_failed(result) for result in gather_object([_attempt(make)])]


def _attempt(make: Callable[[], T]) -> T | NasError:
    try:
        return make()
    except NasError as error:
        return error


def _unless_failed(made: Any) -> Any:
    if isinstance(made, NasError):
        raise made
    return made
