"""Memory of one process of a training run, estimated from the task on the meta device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from torch import nn

from nas.files import StrictModel
from nas.models.network import Mounted
from nas.space import SearchSpace
from nas.training.dry_run.activations import count_activations
from nas.training.engine.settings import LoopConfig
from nas.training.engine.task import MODEL
from nas.training.flow.tasks import JointTask

MOMENTS = 2
"""Tensors that AdamW keeps for a parameter, each of the parameter's size."""


class MemoryEstimate(StrictModel):
    """Memory of one process, in bytes.

    Weights, gradients, optimiser state and averages are counted. The rest is estimated: activations as in
    `nas.training.dry_run.activations`, for the largest architecture if a step trains one of many, and buffers of DDP
    and FSDP from how these work. Not included are losses of the allocator, workspace of kernels, the codec, and clips
    that a callback makes.

    A step has two peaks. At the beginning of the backward pass there are all activations, and no gradients of the step
    before. At the update there are all gradients, and no activations.

    Args:
        weights: Trained and frozen weights.
        gradients: Gradients of the trained weights.
        optimizer: The moments of AdamW.
        averages: The averaged weights.
        exchange: DDP's buckets, or FSDP's two largest gathered blocks and the gradient of one.
        activations: Activations that one micro-batch stores for its backward pass.
        activations_otherwise: The same with the opposite setting of `gradient_checkpointing`.
        flowing: The gradient of the largest activation.
        updating: Temporary tensors of the update, which handles all weights of a phase at once.
        accumulated: Gradients of earlier micro-batches of the step, present when a backward pass begins.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    exchange: int
    activations: int
    activations_otherwise: int
    flowing: int
    updating: int
    accumulated: int

    @property
    def together(self) -> int:
        """The higher one of a step's two peaks."""
        backward = self.activations + self.flowing + self.accumulated
        state = self.weights + self.optimizer + self.averages + self.exchange
        return state + max(backward, self.gradients + self.updating)


def estimate_memory(
    task: JointTask, space: SearchSpace, config: LoopConfig, processes: int, clips: int, frames: int
) -> MemoryEstimate:
    """Estimate the memory of one process of a run.

    Args:
        task: The task, on the meta device; it cannot be used afterwards.
        space: Search space of the task.
        config: Settings of the run.
        processes: Number of processes.
        clips: Clips of one process's micro-batch.
        frames: Single frames of one process's micro-batch.
    """
    by_phase = {phase.name: list(phase.parameters) for phase in task.phases()}
    sharded = config.parallel == "fsdp" and processes > 1
    share = processes if sharded else 1
    model = set(by_phase[MODEL])
    parts = [part for part in task.children() if not model.isdisjoint(part.parameters())]
    of_model = {parameter for part in parts for parameter in part.parameters()}
    phases = [size_bytes(trained, share if name == MODEL else 1) for name, trained in by_phase.items()]
    gradients = sum(phases)
    others = (parameter for parameter in task.parameters() if parameter not in of_model)
    weights = size_bytes(of_model, share) + size_bytes(others)
    averages, exchange = size_bytes(model, share), _exchange(parts, by_phase, sharded) if processes > 1 else 0
    counted = count_activations(task, space, clips, frames, config.mixed_precision)
    stored = [counted.plain_bytes, counted.recomputed_bytes]
    if config.gradient_checkpointing:
        stored.reverse()
    return MemoryEstimate(
        weights=weights,
        gradients=gradients,
        optimizer=MOMENTS * gradients,
        averages=averages,
        exchange=exchange,
        activations=stored[0],
        activations_otherwise=stored[1],
        flowing=counted.largest_bytes,
        updating=max(*phases, averages),
        accumulated=gradients if config.gradient_accumulation > 1 else 0,
    )


def _exchange(parts: list[nn.Module], by_phase: Mapping[str, list[nn.Parameter]], sharded: bool) -> int:
    if not sharded:
        return sum(map(size_bytes, by_phase.values()))
    networks = [module for part in parts for module in part.modules() if isinstance(module, Mounted)]
    blocks = sorted(size_bytes(block.parameters()) for network in networks for block in network.blocks())
    return sum(blocks[-2:]) + blocks[-1]


def size_bytes(parameters: Iterable[nn.Parameter], share: int = 1) -> int:
    """Bytes of parameters, or of the first process's share of their rows."""
    return sum(
        math.ceil(parameter.shape[0] / share) * (parameter.numel() // parameter.shape[0]) * parameter.element_size()
        for parameter in parameters
        if parameter.numel()
    )
