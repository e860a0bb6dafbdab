"""Modules of blocks and plans with example inputs, as a runtime converts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nas.models import build_module, example_inputs
from nas.models.chain import Chain
from nas.models.network import PlanModule
from nas.space import Block, Plan


@dataclass(frozen=True)
class Convertible:
    """A module with example arguments and their names."""

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    names: tuple[str, ...]


def block_convertible(block: Block, *, seed: int = 0) -> Convertible:
    """A block with random weights and inputs."""
    return _convertible(lambda: build_module(block), block, seed)


def chain_convertible(block: Block, copies: int, *, seed: int = 0) -> Convertible:
    """Several copies of a block in a row with random weights, all different."""
    return _convertible(lambda: Chain(block, copies), block, seed)


def plan_convertible(plan: Plan, *, seed: int = 0) -> Convertible:
    """The module of a plan, a whole network or a fragment, with random weights and inputs."""
    if len(plan.nodes) == 1:
        return block_convertible(plan.nodes[0].block, seed=seed)
    return _convertible(lambda: PlanModule(plan), plan, seed)


def _convertible(build: Callable[[], nn.Module], of: Block | Plan, seed: int) -> Convertible:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build()
        _perturb(module)
    return Convertible(module, example_inputs(of, seed=seed), tuple(spec.name for spec in of.inputs))


@torch.no_grad()
def _perturb(module: nn.Module) -> None:
    """Add small noise to all weights: no runtime may profit from zeros, or from equal copies, that training removes."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.add_(torch.randn_like(parameter) * 0.01)
