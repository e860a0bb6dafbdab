"""From a plan to what a runtime converts: its module, its example inputs and their names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nas.models import Chain, PlanModule, build_module, example_inputs
from nas.space import Block, Plan


@dataclass(frozen=True)
class Convertible:
    """A module with example arguments and their names."""

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    names: tuple[str, ...]


def block_convertible(block: Block, *, seed: int = 0) -> Convertible:
    """A block with random weights and inputs."""
    names = tuple(spec.name for spec in block.inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_module(block)
        disturb(module)
    return Convertible(module, example_inputs(block, seed=seed), names)


def chain_convertible(block: Block, copies: int, *, seed: int = 0) -> Convertible:
    """So many copies of a block in a row with random weights, all different; one copy is `block_convertible`."""
    names = tuple(spec.name for spec in block.inputs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = Chain(block, copies)
        disturb(module)
    return Convertible(module, example_inputs(block, seed=seed), names)


def plan_convertible(plan: Plan, *, seed: int = 0) -> Convertible:
    """The module of a plan, a whole network or a fragment, with random weights and inputs."""
    if len(plan.nodes) == 1:
        return block_convertible(plan.nodes[0].block, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = PlanModule(plan)
        disturb(module)
    return Convertible(module, plan_inputs(plan, seed=seed), tuple(spec.name for spec in plan.inputs))


def plan_inputs(plan: Plan, *, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Random inputs of the shapes and types a network expects, at batch 1, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randint(0, 16, spec.shape, generator=generator)
        if spec.dtype == "int64"
        else torch.randn(spec.shape, generator=generator)
        for spec in plan.inputs
    )


@torch.no_grad()
def disturb(module: nn.Module) -> None:
    """Add small noise to all weights: no runtime may profit from zeros, or from copies, that training removes."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.add_(torch.randn_like(parameter) * 0.01)
