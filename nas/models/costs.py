"""Costs that need no device: parameters, multiply-accumulates, activation memory.

Blocks are built on the meta device, so counting the largest space takes seconds and no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import ConfigError
from nas.models.blocks import build_module
from nas.space import Architecture, Block, Plan, SearchSpace


@dataclass(frozen=True)
class BlockCost:
    """Parameters and multiply-accumulates of one call of a block at batch 1."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one call of a network at batch 1.

    Args:
        parameters: Number of weights.
        macs: Multiply-accumulates of convolutions, matrix products and attention.
        peak_activation_bytes: Most bytes of values alive between blocks, in fp32.
    """

    parameters: int
    macs: int
    peak_activation_bytes: int


def abstract_block(block: Block) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """A block's module in evaluation mode and its inputs, on the meta device, which has shapes and no values."""
    with torch.device("meta"):
        module = build_module(block).eval().to("meta")  # some libraries' parameters are on the CPU all the same
        return module, tuple(torch.empty(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in block.inputs)


@lru_cache(maxsize=4096)
def block_cost(block: Block) -> BlockCost:
    """Parameters and multiply-accumulates of a block, counted on the meta device.

    Raises:
        ConfigError: Its output has another shape than its plan says.
    """
    module, inputs = abstract_block(block)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        made = tuple(module(*inputs).shape)
    if made != block.output_shape:
        # The shapes of nas's own blocks are right. Those of other libraries' models come from the user's file.
        shapes = ["x".join(map(str, shape)) for shape in (made, block.output_shape)]
        raise ConfigError(f"{block.kind}: makes {shapes[0]} of {block.inputs[0]}, not {shapes[1]}",
                          hint="change the sizes, factors or layout of the search space's text or codec")  # fmt: skip
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return BlockCost(parameters, counter.get_total_flops() // 2)


def network_cost(plan: Plan) -> NetworkCost:
    """Cost of a network, summed over its plan."""
    costs = [block_cost(node.block) for node in plan.nodes]
    return NetworkCost(
        sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs), plan.peak_activation_bytes()
    )


def slot_parameters(space: SearchSpace) -> dict[str, dict[str, int]]:
    """Parameters of every candidate, by slot identifier and candidate name."""
    parameters = {slot.id: dict.fromkeys(slot.candidates, 0) for slot in space.slots}
    for (slot, candidate), block in space.placed_blocks().items():
        parameters[slot][candidate] = block_cost(block).parameters
    return parameters


def extreme_architectures(space: SearchSpace) -> tuple[Architecture, Architecture]:
    """The architectures with the fewest and with the most parameters.

    Parameters are a sum over slots, so the extremes are found slot by slot.
    """
    parameters = slot_parameters(space)
    slots = [parameters[slot.id] for slot in space.slots]
    fewest = space.architecture([min(slot, key=slot.__getitem__) for slot in slots])
    return fewest, space.architecture([max(slot, key=slot.__getitem__) for slot in slots])


def parameter_range(space: SearchSpace) -> tuple[int, int]:
    """Fewest and most parameters of any architecture's denoising network."""
    fewest, most = extreme_architectures(space)
    return network_cost(space.lower(fewest)).parameters, network_cost(space.lower(most)).parameters
