"""How the processes of a run share what is trained: each holds all of it, or each holds some rows of every weight."""

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
    """Stands between the task that a caller has made, and what the loop trains.

    Args:
        task: The task; whole wherever a caller or a callback sees it.
        accelerator: Processes and devices.
    """

    trained: TrainingTask[BatchT]
    """What optimisers, averages and checkpoints see."""

    def __init__(self, task: TrainingTask[BatchT], accelerator: Accelerator) -> None:
        self.task, self.accelerator = task, accelerator

    @abstractmethod
    def prepare(self, optimizers: Optimizers) -> tuple[nn.Module, Optimizers]:
        """What to call for a step in place of the trained task, and the optimisers to step with."""

    @abstractmethod
    def local_parameters(self, phase: OptimizerPhase) -> list[nn.Parameter]:
        """What this process holds of each parameter of a phase: what its optimiser steps, and averages are kept of."""

    @abstractmethod
    def reduce_and_clip(self, phase: OptimizerPhase, max_norm: float) -> None:
        """After the backward passes of a step, give what is held its gradient.

        That is the mean over all processes, scaled down to a norm of the whole gradient.
        """

    @abstractmethod
    def averaged_weights(self, ema: EMAModel) -> contextlib.AbstractContextManager[None]:
        """The task with its averaged weights, whole and for a while."""

    @abstractmethod
    def finish(self, ema: EMAModel) -> None:
        """Leave the averaged weights in the task, whole and in all processes."""


class DataParallel(Parallelism[BatchT]):
    """Every process holds all weights, and gradients are averaged: DDP, or one process alone.

    Args:
        task: As of `Parallelism`.
        accelerator: As of `Parallelism`.
    """

    def __init__(self, task: TrainingTask[BatchT], accelerator: Accelerator) -> None:
        super().__init__(task, accelerator)
        self.trained = task.to(accelerator.device)

    def prepare(self, optimizers: Optimizers) -> tuple[nn.Module, Optimizers]:
        """See `Parallelism.prepare`."""
        wrapped, *prepared = self.accelerator.prepare(self.task, *optimizers.values())
        return wrapped, dict(zip(optimizers, prepared, strict=True))

    def local_parameters(self, phase: OptimizerPhase) -> list[nn.Parameter]:
        """See `Parallelism.local_parameters`: all of it."""
        return list(phase.parameters)

    def reduce_and_clip(self, phase: OptimizerPhase, max_norm: float) -> None:
        """See `Parallelism.reduce_and_clip`; DDP has averaged."""
        self.accelerator.clip_grad_norm_(phase.parameters, max_norm)

    @contextlib.contextmanager
    def averaged_weights(self, ema: EMAModel) -> Iterator[None]:
        """See `Parallelism.averaged_weights`."""
        parameters = list(self.task.trained_parameters())
        ema.store(parameters)
        ema.copy_to(parameters)
        self.task.eval()
        try:
            yield
        finally:
            ema.restore(parameters)

    def finish(self, ema: EMAModel) -> None:
        """See `Parallelism.finish`."""
        ema.copy_to(list(self.task.trained_parameters()))


class FullySharded(Parallelism[BatchT]):
    """Every process holds some rows of each weight, its gradient, its average and its optimiser's state: FSDP2.

    The unit that is gathered to run, and let go after it, is the block of a plan. What is trained is a copy of the
    task; the task itself waits on the CPU for averaged weights. Parts of a task in which the model's own phase trains
    nothing - a frozen teacher or text encoder, a discriminator - are whole in every process, and the copy has the
    same ones. That lets the main process look at clips alone, and the discriminator have second derivatives.

    Args:
        task: As of `Parallelism`.
        accelerator: As of `Parallelism`; of more than one process.
    """

    def __init__(self, task: TrainingTask[BatchT], accelerator: Accelerator) -> None:
        super().__init__(task, accelerator)
        trained = set(task.trained_parameters())
        self._sharded = [part for part in task.children() if not trained.isdisjoint(part.parameters())]
        whole = [part for part in task.children() if trained.isdisjoint(part.parameters())]
        self.trained = copy.deepcopy(task, {id(part): part for part in whole})
        self._shard({parameter for part in whole for parameter in part.parameters()})
        self.trained.to(accelerator.device)
        self._held: dict[str, list[nn.Parameter]] = {}

    def _shard(self, whole: set[nn.Parameter]) -> None:
        # A warning to those who write into what a block returns; no block writes into its inputs.
        warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor")
        mesh = init_device_mesh(self.accelerator.device.type, (self.accelerator.num_processes,))
        for network in [each for each in self.trained.modules() if isinstance(each, Mounted)]:
            for block in network.blocks():
                if not whole.issuperset(block.parameters()):  # else whole, or without weights
                    fully_shard(block, mesh=mesh)
        fully_shard(self.trained, mesh=mesh, ignored_params=whole)

    def prepare(self, optimizers: Optimizers) -> tuple[nn.Module, Optimizers]:
        """See `Parallelism.prepare`."""
        # Accelerate's evaluation mode is autocast without DDP around it.
        wrapped: nn.Module = self.accelerator.prepare_model(self.trained, device_placement=False, evaluation_mode=True)
        return wrapped, {phase: self.accelerator.prepare_optimizer(each) for phase, each in optimizers.items()}

    def local_parameters(self, phase: OptimizerPhase) -> list[nn.Parameter]:
        """See `Parallelism.local_parameters`: rows of it, as plain tensors.

        Optimisers and averages go by element, and every operation on a distributed tensor has its price in Python.
        """
        if phase.name not in self._held:
            self._held[phase.name] = [nn.Parameter(local_rows(each).clone()) for each in phase.parameters]
            self._point(phase)
        return self._held[phase.name]

    def _point(self, phase: OptimizerPhase) -> None:
        """Let what is held be the rows of the parameters themselves, which FSDP may have moved."""
        for held, parameter in zip(self._held[phase.name], phase.parameters, strict=True):
            held.data = local_rows(parameter)
            held.grad = None if parameter.grad is None else local_rows(parameter.grad)

    def reduce_and_clip(self, phase: OptimizerPhase, max_norm: float) -> None:
        """See `Parallelism.reduce_and_clip`; FSDP has averaged, for the weights that are shared out."""
        self._point(phase)
        gradients = [each.grad for each in self._held[phase.name] if each.grad is not None]
        if phase.name == MODEL:
            square = torch.nn.utils.get_total_norm(gradients).square().to(self.accelerator.device)
            torch.distributed.all_reduce(square)
        else:
            for gradient in gradients:
                torch.distributed.all_reduce(gradient.div_(self.accelerator.num_processes))
            square = torch.nn.utils.get_total_norm(gradients).square()
        torch.nn.utils.clip_grads_with_norm_(self._held[phase.name], max_norm, square.sqrt())

    @contextlib.contextmanager
    def averaged_weights(self, ema: EMAModel) -> Iterator[None]:
        """See `Parallelism.averaged_weights`; on the training device in the main process only."""
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
        """See `Parallelism.finish`."""
        self._gather(ema)
        self.task.to(self.accelerator.device)

    def _gather(self, ema: EMAModel) -> None:
        """Bring the averaged weights together in the task."""
        owners = self.trained.trained_parameters()
        for parameter, owner, rows in zip(self.task.trained_parameters(), owners, ema.shadow_params, strict=True):
            mean = as_shard(rows, owner)
            assert isinstance(mean, DTensor), "what the model's phase trains is shared out"
            parameter.data.copy_(mean.full_tensor())


def local_rows(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor, without its history: rows of a distributed one, all of another."""
    held = tensor.detach()
    return held.to_local() if isinstance(held, DTensor) else held


def as_shard(rows: torch.Tensor, owner: torch.Tensor) -> torch.Tensor:
    """Rows that this process holds as part of a distributed tensor laid out as `owner`, if that is one."""
    if not isinstance(owner, DTensor) or rows.shape != owner.to_local().shape:
        return rows
    mesh, placements = owner.device_mesh, owner.placements
    return DTensor.from_local(
        rows.to(owner.device), mesh, placements, run_check=False, shape=owner.shape, stride=owner.stride()
    )


def make_parallelism(task: TrainingTask[BatchT], config: LoopConfig, accelerator: Accelerator) -> Parallelism[BatchT]:
    """The way that a configuration names; one process has nobody to share with."""
    if config.parallel == "fsdp" and accelerator.num_processes > 1:
        return FullySharded(task, accelerator)
    return DataParallel(task, accelerator)
