"""Modules and inputs in fp16, for converters that take the precision of the module they are given."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn


def in_half(module: nn.Module) -> nn.Module:
    """A copy with weights and buffers in fp16; numbers that are not floating point stay.

    Only the fp16 weights are new: there is no second copy in fp32. What a module computes in fp32 on its own, such as
    the sinusoids of a timestep, it still does.
    """
    narrow: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            half = tensor.detach().to(torch.float16)
            narrow[id(tensor)] = nn.Parameter(half, requires_grad=False) if isinstance(tensor, nn.Parameter) else half
    return copy.deepcopy(module, narrow)


def half_inputs(inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Floating-point inputs in fp16, except those of one dimension.

    A number per clip, such as the timestep, costs nothing in fp32, and fp16 cannot hold it: it has steps of 0.5
    between 512 and 1024.
    """
    return tuple(_narrow(tensor) for tensor in inputs)


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float16) if tensor.is_floating_point() and tensor.dim() > 1 else tensor
