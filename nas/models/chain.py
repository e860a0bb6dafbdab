"""A block several times in a row, as one module: what a device takes longer for more copies is the block's own time.

One call of a model costs a device a fixed time, whatever the model: dispatch, copies of inputs and outputs. For small
blocks it is longer than the block. The difference between two chains of the same block is free of it.
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
"""What a value is multiplied by on its way into the next copy where it would grow there; exact in fp16."""

_STABLE = (TemporalLayer, Resnet, SpatialTransformer, TextEmbedding, NormAct)
"""Modules that add to what they read, or normalise it: 32 of them in a row stay within fp16."""

_GROWING = (DataToVelocity,)
"""Modules that multiply what they read: a noise level of 0.02 makes 50 of 1, and infinity of it in four steps."""


class Chain(nn.Module):
    """Copies of a block's module, each with weights of its own, of which each waits for the one before.

    A layer that keeps the shape of its first input, and its size, reads there what the copy before has written:
    that costs nothing, and is how it runs in a network. This goes for all temporal layers.

    Any other block reads its own inputs again, and to the first of them one value is added that was cut off the output
    before, so that no compiler may run two copies at once, or compute what they share once. Each copy but the first
    then takes two small operations more than the block: the cut, and a sum as large as the first input. The latency
    that is found is too high by those. How much that is on a phone, nobody has measured; it is the more, the less the
    block itself does. In a network most such blocks stand once.

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
        """The value, by a little changed according to a result, so that it has to wait for it."""
        one = before[(slice(0, 1),) * before.dim()]
        if one.dim() != value.dim():
            one = one.reshape((1,) * value.dim())
        if not value.is_floating_point():
            # Numbers of tokens stay what they are: the part below 1 falls away, which no compiler can know.
            return value + one.clamp(0, 0.5).to(value.dtype)
        return value + (one * LINK_SCALE if isinstance(self.copies[0], _GROWING) else one)
