"""Rankings of architectures without training: a higher number is taken to be better."""

from __future__ import annotations

import math

import torch
from torch import nn

from nas.models import VideoUNet, network_cost
from nas.space import Architecture, SearchSpace


def parameters(space: SearchSpace, architecture: Architecture) -> float:
    """Number of weights."""
    return float(network_cost(space.lower(architecture)).parameters)


def macs(space: SearchSpace, architecture: Architecture) -> float:
    """Multiply-accumulates of one call."""
    return float(network_cost(space.lower(architecture)).macs)


class _Rescaled(nn.Module):
    """Replaces a normalisation: divides by the root mean square, as a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.detach().square().mean().sqrt()


def synflow(space: SearchSpace, architecture: Architecture, seed: int = 0) -> float:
    """Logarithm of the synaptic flow (Tanaka et al. 2020, arXiv 2006.05467), of fresh weights.

    That is the sum over all weights of weight times gradient, where weights are replaced by their absolute values and
    the input is all ones. Normalisation would make zeros of the ones, and is taken out as in Abdelfattah et al. (2021,
    arXiv 2101.08134); but without any, gated layers square what they get until it overflows, so a scale stays in its
    place. Temporal layers begin as the identity, with a last projection of zeros through which nothing would flow: it
    is drawn as that of any other layer would be.
    """
    plan = space.lower(architecture)
    torch.manual_seed(seed)
    network = VideoUNet(plan).double()
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm | nn.LayerNorm):
                setattr(module, name, _Rescaled())
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
        weight.data.abs_()
    sample, timestep, context = (torch.ones(spec.shape, dtype=torch.float64) for spec in plan.inputs)
    network(sample, timestep, context).sum().backward()
    weights = [each for each in network.parameters() if each.grad is not None]
    flow = sum(float((each.detach() * each.grad).abs().sum()) for each in weights)
    if not math.isfinite(flow):
        raise ArithmeticError(f"the synaptic flow of {architecture} is {flow}")
    return math.log(flow)


PROXIES = {"parameters": parameters, "MACs": macs, "synflow": synflow}
