"""What one process of a training run holds in memory, figured from the task on the meta device."""

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
"""Tensors in the size of a parameter that AdamW keeps for it."""


class MemoryEstimate(StrictModel):
    """Bytes of one process.

    Weights, gradients, optimiser state and averages are counted. The others are estimates: activations as in
    `nas.training.dry_run.activations`, for the architecture with the most parameters where a step trains one of many,
    and what DDP and FSDP need to exchange weights and gradients from how they work. The allocator's own losses,
    workspace of kernels, the codec, and clips that a callback makes come on top.

    A step has two peaks. The backward pass begins with all activations, and without the gradients that the step before
    has left, which are gone by then. The optimiser works with all gradients, and no activations are left.

    Args:
        weights: Trained and frozen weights.
        gradients: Gradients of the trained ones.
        optimizer: The moments of AdamW.
        averages: The averaged weights.
        exchange: DDP's buckets, or FSDP's two largest gathered blocks with a gradient.
        activations: What one micro-batch keeps for its backward pass.
        activations_otherwise: The same if `gradient_checkpointing` were set the other way.
        flowing: The gradient of the largest activation, beside it.
        updating: What optimiser and averages compute with, each over all weights at once: a tensor in the size of each.
        accumulated: Gradients of earlier micro-batches of the step, which are there when a backward pass begins.
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
        """The higher of a step's two peaks."""
        backward = self.activations + self.flowing + self.accumulated
        state = self.weights + self.optimizer + self.averages + self.exchange
        return state + max(backward, self.gradients + self.updating)


def estimate_memory(
    task: JointTask, space: SearchSpace, config: LoopConfig, processes: int, clips: int, frames: int
) -> MemoryEstimate:
    """Memory of one process of a run.

    Args:
        task: What is to be trained, on the meta device; it is used up.
        space: Its search space.
        config: Settings of the run.
        processes: How many there are.
        clips: Clips of a micro-batch of one process.
        frames: Single frames of it.
    """
    by_phase = {phase.name: list(phase.parameters) for phase in task.phases()}
    sharded = config.parallel == "fsdp" and processes > 1
    share = processes if sharded else 1
    model = set(by_phase[MODEL])
    parts = [part for part in task.children() if not model.isdisjoint(part.parameters())]
    shared_out = {each for part in parts for each in part.parameters()}
    phases = [size_bytes(each, share if phase == MODEL else 1) for phase, each in by_phase.items()]
    gradients = sum(phases)
    weights = size_bytes(shared_out, share) + size_bytes(each for each in task.parameters() if each not in shared_out)
    averages, exchange = size_bytes(model, share), _exchange(parts, by_phase, sharded) if processes > 1 else 0
    counted = count_activations(task, space, clips, frames, config.mixed_precision)
    kept = [counted.plain_bytes, counted.recomputed_bytes]
    if config.gradient_checkpointing:
        kept.reverse()
    return MemoryEstimate(
        weights=weights,
        gradients=gradients,
        optimizer=MOMENTS * gradients,
        averages=averages,
        exchange=exchange,
        activations=kept[0],
        activations_otherwise=kept[1],
        flowing=counted.largest_bytes,
        updating=max(*phases, averages),
        accumulated=gradients if config.gradient_accumulation > 1 else 0,
    )


def _exchange(parts: list[nn.Module], by_phase: Mapping[str, list[nn.Parameter]], sharded: bool) -> int:
    if not sharded:
        return sum(size_bytes(each) for each in by_phase.values())
    networks = [each for part in parts for each in part.modules() if isinstance(each, Mounted)]
    blocks = sorted(size_bytes(block.parameters()) for network in networks for block in network.blocks())
    return sum(blocks[-2:]) + blocks[-1]


def size_bytes(parameters: Iterable[nn.Parameter], share: int = 1) -> int:
    """Bytes of parameters, or of the rows that the first of some processes holds of them."""
    return sum(
        math.ceil(each.shape[0] / share) * (each.numel() // each.shape[0]) * each.element_size()
        for each in parameters
        if each.numel()
    )
