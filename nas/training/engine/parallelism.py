"""Parallelism of a run: each process holds all weights, or some rows of each weight."""

from __future__ import annotations

import contextlib
import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Generic

import torch
from accelerate import Accelerator
from diffusers.training_utils import EMAModel
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from nas.models.network import Mounted
from nas.training.engine.settings import LoopConfig
from nas.training.engine.task import MODEL, BatchT, OptimizerPhase, TrainingTask

Optimizers = Mapping[str, torch.optim.Optimizer]
"""The optimisers of a run, by the name of their phase."""


class Parallelism(ABC, Generic[BatchT]):
    """Distributes a task to the processes of a run, and collects its averaged weights.

    Args:
        task: The task. It is whole whenever a caller or a callback reads it.
        accelerator: Processes and devices.
    """

    trained: TrainingTask[BatchT]
    """What optimisers, averages and checkpoints work on: the task, or a sharded copy of it."""

    def __init__(self, task: TrainingTask[BatchT], accelerator: Accelerator) -> None:
        self.task, self.accelerator = task, accelerator

    @abstractmethod
    def prepare(self, optimizers: Optimizers) -> tuple[nn.Module, Optimizers]:
        """Wrap the trained task and its optimisers for the steps of the run."""

    @abstractmethod
    def local_parameters(self, phase: OptimizerPhase) -> list[nn.Parameter]:
        """This process's part of each parameter of a phase: what its optimiser updates."""

    @abstractmethod
    def reduce_and_clip(self, phase: OptimizerPhase, max_norm: float) -> None:
        """Finish the gradients of the local parameters, after the backward passes of a phase.

        A gradient is the mean over all processes. The norm of all gradients together is clipped to `max_norm`.
        """

    @abstractmethod
    def averaged_weights(self, ema: EMAModel) -> contextlib.AbstractContextManager[None]:
        """A context in which the task is whole and holds its averaged weights."""

    @abstractmethod
    def finish(self, ema: EMAModel) -> None:
        """Leave the averaged weights in the task, whole, in all processes."""


class DataParallel(Parallelism[BatchT]):
    """Data parallel: every process holds all weights, and gradients are averaged (DDP); or a single process."""

    def __init__(self, task: TrainingTask[BatchT], accelerator: Accelerator) -> None:
        super().__init__(task, accelerator)
        self.trained = task.to(accelerator.device)

    def prepare(self, optimizers: Optimizers) -> tuple[nn.Module, Optimizers]:
        """Wrap the task in DDP if there are several processes."""
        wrapped, *prepared = self.accelerator.prepare(self.task, *optimizers.values())
        return wrapped, dict(zip(optimizers, prepared, strict=True))

    def local_parameters(self, phase: OptimizerPhase) -> list[nn.Parameter]:
        """All parameters of the phase, whole."""
        return list(phase.parameters)

    def reduce_and_clip(self, phase: OptimizerPhase, max_norm: float) -> None:
        """Clip; DDP has averaged the gradients in the backward pass."""
        self.accelerator.clip_grad_norm_(phase.parameters, max_norm)

    @contextlib.contextmanager
    def averaged_weights(self, ema: EMAModel) -> Iterator[None]:
        """Exchange the weights for their averages, and back."""
        parameters = list(self.task.trained_parameters())
        ema.store(parameters)
        ema.copy_to(parameters)
        self.task.eval()
        try:
            yield
        finally:
            ema.restore(parameters)

    def finish(self, ema: EMAModel) -> None:
        """Copy the averages into the task."""
        ema.copy_to(list(self.task.trained_parameters()))


class FullySharded(Parallelism[BatchT]):
    """Fully sharded (FSDP2): every process holds some rows of each weight, gradient, average and optimiser state.

    A block of the plan is gathered when it runs, and freed after it. A copy of the task is trained; the task itself
    stays on the CPU and receives averaged weights. Parts of a task that the model's phase does not train (a frozen
    teacher or text encoder, a discriminator) are whole in every process, and shared with the copy. So the main process
    can make clips alone, and the discriminator can have second derivatives.
    """

    def __init__(self, task: TrainingTask[BatchT], accelerator: Accelerator) -> None:
        super().__init__(task, accelerator)
        trained = set(task.trained_parameters())
        self._sharded = [part for part in task.children() if not trained.isdisjoint(part.parameters())]
        whole = [part for part in task.children() if trained.isdisjoint(part.parameters())]
        self.trained = copy.deepcopy(task, {id(part): part for part in whole})
        self._shard({parameter for part in whole for parameter in part.parameters()})
        self.trained.to(accelerator.device)
        self._local: dict[str, list[nn.Parameter]] = {}

    def _shard(self, whole: set[nn.Parameter]) -> None:
        # The warning concerns in-place changes of a block's output; no block changes its inputs.
        warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor")
        mesh = init_device_mesh(self.accelerator.device.type, (self.accelerator.num_processes,))
        for network in [module for module in self.trained.modules() if isinstance(module, Mounted)]:
            for block in network.blocks():
                if not whole.issuperset(block.parameters()):  # otherwise it is whole, or has no weights
                    fully_shard(block, mesh=mesh)
        fully_shard(self.trained, mesh=mesh, ignored_params=whole)

    def prepare(self, optimizers: Optimizers) -> tuple[nn.Module, Optimizers]:
        """Add autocast; the task is sharded already."""
        # Accelerate's evaluation mode is autocast without DDP.
        wrapped: nn.Module = self.accelerator.prepare_model(self.trained, device_placement=False, evaluation_mode=True)
        return wrapped, {name: self.accelerator.prepare_optimizer(optimizer) for name, optimizer in optimizers.items()}

    def local_parameters(self, phase: OptimizerPhase) -> list[nn.Parameter]:
        """This process's rows, as plain tensors.

        Optimisers and averages work by element, and an operation on a distributed tensor costs more time in Python.
        """
        if phase.name not in self._local:
            self._local[phase.name] = [nn.Parameter(local_rows(whole).clone()) for whole in phase.parameters]
            self._point(phase)
        return self._local[phase.name]

    def _point(self, phase: OptimizerPhase) -> None:
        """Make the local parameters share memory with the rows of the sharded ones, which FSDP may have moved."""
        for local, parameter in zip(self._local[phase.name], phase.parameters, strict=True):
            local.data = local_rows(parameter)
            local.grad = None if parameter.grad is None else local_rows(parameter.grad)

    def reduce_and_clip(self, phase: OptimizerPhase, max_norm: float) -> None:
        """Average the gradients of whole parts, and clip; FSDP has averaged those of sharded weights."""
        self._point(phase)
        gradients = [local.grad for local in self._local[phase.name] if local.grad is not None]
        if phase.name == MODEL:
            square = torch.nn.utils.get_total_norm(gradients).square().to(self.accelerator.device)
            torch.distributed.all_reduce(square)
        else:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient.div_(self.accelerator.num_processes))
            square = torch.nn.utils.get_total_norm(gradients).square()
        torch.nn.utils.clip_grads_with_norm_(self._local[phase.name], max_norm, square.sqrt())

    @contextlib.contextmanager
    def averaged_weights(self, ema: EMAModel) -> Iterator[None]:
        """Gather the averages into the task; it is on the training device in the main process only."""
        self._gather(ema)
        device = self.accelerator.device if self.accelerator.is_main_process else torch.device("cpu")
        for part in self._sharded:
            part.to(device)
        self.task.eval()
        try:
            yield
        finally:
            for part in self._sharded:
                part.to("cpu")

    def finish(self, ema: EMAModel) -> None:
        """Gather the averages into the task, and move it to the training device."""
        self._gather(ema)
        self.task.to(self.accelerator.device)

    def _gather(self, ema: EMAModel) -> None:
        """Copy the averaged weights, whole, into the task."""
        owners = self.trained.trained_parameters()
        for parameter, owner, rows in zip(self.task.trained_parameters(), owners, ema.shadow_params, strict=True):
            mean = as_shard(rows, owner)
            assert isinstance(mean, DTensor), "what the model's phase trains is sharded"
            parameter.data.copy_(mean.full_tensor())


def local_rows(tensor: torch.Tensor) -> torch.Tensor:
    """This process's rows of a distributed tensor, or all of another tensor; detached."""
    detached = tensor.detach()
    return detached.to_local() if isinstance(detached, DTensor) else detached


def as_shard(rows: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """This process's rows as part of a distributed tensor with the layout of `owner`, if `owner` is distributed."""
    if not isinstance(owner, DTensor) or rows.shape != owner.to_local().shape:
        return rows
    mesh, placements = owner.device_mesh, owner.placements
    return DTensor.from_local(
        rows.to(owner.device), mesh, placements, run_check=False, shape=owner.shape, stride=owner.stride()
    )


def make_parallelism(task: TrainingTask[BatchT], config: LoopConfig, accelerator: Accelerator) -> Parallelism[BatchT]:
    """The parallelism that a configuration names. A single process never shards."""
    if config.parallel == "fsdp" and accelerator.num_processes > 1:
        return FullySharded(task, accelerator)
    return DataParallel(task, accelerator)
