"""Activations that autograd stores for the backward pass of a step, counted without computing anything.

The task runs on fake tensors, which have shapes and types but no values. So the largest network takes seconds and
almost no memory. Types are those of autocast on a graphics card, where norms are in fp32 even in bf16. Kernels of a
card may store a little more or less, so the count is an estimate for a card.

Shape suffixes as in `nas.training.flow.batches`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from nas.models.network import BlockCall, Mounted
from nas.space import SearchSpace
from nas.training.engine.task import OptimizerPhase
from nas.training.flow.batches import Batch
from nas.training.flow.rng import RNGKeys
from nas.training.flow.tasks import JointTask

IN_FP32 = frozenset(
    {"group_norm", "layer_norm", "softmax", "log_softmax", "softplus", "exp", "log", "pow", "__pow__", "rsqrt",
     "reciprocal", "sum", "cumsum", "norm", "normalize", "cosine_similarity", "mse_loss", "l1_loss", "cross_entropy",
     "binary_cross_entropy_with_logits"}
)  # fmt: skip
"""Functions that autocast runs in fp32 on a card, from PyTorch's list. On a CPU most of them run in bf16."""


@dataclass(frozen=True)
class Activations:
    """Bytes that autograd stores for the backward pass of one micro-batch, without the weights.

    Args:
        plain_bytes: All stored activations.
        recomputed_bytes: With gradient checkpointing: those between blocks, and those inside the largest block.
        largest_bytes: The largest stored tensor.
    """

    plain_bytes: int
    recomputed_bytes: int
    largest_bytes: int


class _CardTypes(TorchFunctionMode):
    """Makes autocast on a CPU give the types of autocast on a card."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if getattr(func, "__name__", "") in IN_FP32:
            args, named = tuple(map(_wide, args)), {name: _wide(value) for name, value in named.items()}
        return func(*args, **named)


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value


class _Kept:
    """Adds up the memory of all tensors that autograd stores, each storage once."""

    def __init__(self, task: nn.Module) -> None:
        self._weights = {parameter.untyped_storage()._cdata for parameter in task.parameters()}
        self._storages: dict[int, torch.UntypedStorage] = {}  # references, so that no address is used twice
        self.bytes, self.largest_bytes = 0, 0

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._weights and storage._cdata not in self._storages:
            self._storages[storage._cdata] = storage
            self.bytes += storage.nbytes()
            self.largest_bytes = max(self.largest_bytes, storage.nbytes())
        return tensor


class _Calls:
    """Calls the blocks of a task, those that store nothing, such as a teacher's, once for equal inputs."""

    def __init__(self) -> None:
        self._outputs: dict[Hashable, torch.Tensor] = {}
        self.largest_block_bytes = 0

    def storing(self, kept: _Kept) -> BlockCall:
        """How a block is called that stores all that its backward pass needs."""

        def call(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
            if not torch.is_grad_enabled():
                return torch.empty_like(self._output(module, inputs))
            before = kept.bytes
            output: torch.Tensor = module(*inputs)
            self._outputs[_kind(module, inputs)] = output
            self.largest_block_bytes = max(self.largest_block_bytes, kept.bytes - before)
            return output

        return call

    def recomputing(self, kept: _Kept) -> BlockCall:
        """How a block is called that stores its inputs only. Its output is of the kind that it has been before."""

        def call(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
            output = self._output(module, inputs)
            if not torch.is_grad_enabled():
                return torch.empty_like(output)
            for tensor in inputs:
                kept.keep(tensor)
            return _Recomputed.apply(output, *inputs)  # type: ignore[no-any-return, no-untyped-call]

        return call

    def _output(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        kind = _kind(module, inputs)
        if kind not in self._outputs:
            self._outputs[kind] = module(*inputs)
        return self._outputs[kind]


def _kind(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Hashable:
    kinds = ((tensor.shape, tensor.dtype, tensor.requires_grad) for tensor in inputs)
    return (module, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), *kinds)


class _Recomputed(torch.autograd.Function):
    """A tensor of the kind of a block's output, in a graph with the block's inputs."""

    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.kinds = [(tensor.shape, tensor.dtype) for tensor in inputs]
        return torch.empty_like(output)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, *(gradients[0].new_empty(shape, dtype=dtype) for shape, dtype in ctx.kinds)


def count_activations(task: JointTask, space: SearchSpace, clips: int, frames: int, precision: str) -> Activations:
    """Count the activations of one process's micro-batch, in the phase that stores the most.

    Args:
        task: The task, on the meta device; it cannot be used afterwards.
        space: Search space of the task.
        clips: Clips of the micro-batch.
        frames: Single frames of the micro-batch.
        precision: `no` or `bf16`, as in `LoopConfig.mixed_precision`.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        task.to_empty(device="cpu").train()
        batch = _empty_batch(space, clips, frames)
        calls = _Calls()

        def count(phase: OptimizerPhase, call_of: Callable[[_Kept], BlockCall]) -> _Kept:
            kept = _Kept(task)
            for network in task.modules():
                if isinstance(network, Mounted):
                    network.call = call_of(kept)
            _run(task, batch, phase, precision, kept)
            return kept

        plain = [count(phase, calls.storing) for phase in task.phases()]
        again = [count(phase, calls.recomputing) for phase in task.phases()]
    return Activations(
        plain_bytes=max(kept.bytes for kept in plain),
        recomputed_bytes=max(kept.bytes for kept in again) + calls.largest_block_bytes,
        largest_bytes=max(kept.largest_bytes for kept in plain),
    )


def _run(task: JointTask, batch: Batch, phase: OptimizerPhase, precision: str, kept: _Kept) -> None:
    with (
        torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        _CardTypes() if precision == "bf16" else contextlib.nullcontext(),
    ):
        task(batch, 0, phase.name)


def _empty_batch(space: SearchSpace, clips: int, frames: int) -> Batch:
    shape, tokens = space.latent_shape, space.context_shape[0]
    return Batch(
        torch.empty(clips, *shape),
        torch.zeros(clips, tokens, dtype=torch.int64),
        torch.empty(frames, 1, *shape[1:]),
        torch.zeros(frames, tokens, dtype=torch.int64),
        RNGKeys.of_process(0, clips, 0, 0, 1),
        RNGKeys.of_process(0, frames, 0, 0, 1),
    )
