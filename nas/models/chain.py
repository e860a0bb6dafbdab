"""A block several times in a row, as one module: the extra time of more copies is the block's own time.

Each call of a model costs a device a fixed time: dispatch, copies of inputs and outputs. For a small block that is more
than the block itself. The difference between two chains of the same block does not contain it.
"""

from __future__ import annotations

import torch
from torch import nn

from nas.models.blocks import build_module
from nas.models.parametrisation import DataToVelocity
from nas.models.spatial import NormAct, Resnet, SpatialTransformer, TextEmbedding
from nas.models.temporal import TemporalLayer
from nas.space import Block

LINK_SCALE = 2.0**-10
"""Factor on a value that is passed to the next copy and would grow there; exact in fp16."""

_STABLE = (TemporalLayer, Resnet, SpatialTransformer, TextEmbedding, NormAct)
"""Modules that add to their input, or normalise it: the output of 32 in a row stays within fp16."""

_GROWING = (DataToVelocity,)
"""Modules that multiply their input: a noise level of 0.02 turns 1 into 50, and four copies overflow fp16."""


class Chain(nn.Module):
    """Copies of a block's module, each with its own weights; each copy waits for the one before it.

    A layer whose output has the shape and the scale of its first input reads the output of the copy before it. That
    costs nothing, and is how it runs in a network. All temporal layers are of this sort.

    Any other block reads its own inputs again. One value, cut off the output of the copy before it, is added to the
    first input. So no compiler can run two copies at once, or compute a shared part once. Each copy after the first
    then runs two small operations more than the block: the cut, and a sum as large as the first input. The measured
    latency is too high by these. By how much, was not measured on a phone; the less the block computes, the larger is
    their share. Most of these blocks occur once in a network.

    Args:
        block: The block.
        copies: How many.
    """

    def __init__(self, block: Block, copies: int) -> None:
        super().__init__()
        self.copies = nn.ModuleList(build_module(block) for _ in range(copies))
        keeps_shape = block.output_shape == block.inputs[0].shape
        self.passes_on = keeps_shape and isinstance(self.copies[0], _STABLE)

    def forward(self, first: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        """The output of the last copy, on the block's own arguments."""
        output: torch.Tensor = self.copies[0](first, *rest)
        for copy in list(self.copies)[1:]:
            output = copy(output if self.passes_on else self._linked(first, output), *rest)
        return output

    def _linked(self, value: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """The value, changed slightly by an earlier result, so that it has to wait for that result."""
        first = before[(slice(0, 1),) * before.dim()]
        if first.dim() != value.dim():
            first = first.reshape((1,) * value.dim())
        if not value.is_floating_point():
            # Token numbers do not change: the part below 1 is cut off, which no compiler can know.
            return value + first.clamp(0, 0.5).to(value.dtype)
        return value + (first * LINK_SCALE if isinstance(self.copies[0], _GROWING) else first)
