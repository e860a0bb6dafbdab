"""Compressing the weights of a torch module, so that the loss of quality is known without a converter or a phone."""

from __future__ import annotations

import torch
from torch import nn

from nas.compression.arrays import compressed
from nas.compression.kinds import weight_format

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@torch.no_grad()
def compress_module(module: nn.Module, kind: str) -> None:
    """Replace the weights of a module by those that a compressed file of it holds. The module computes in its own type.

    Each tensor is compressed by itself, so an architecture inherits from a compressed supernet what its own package
    will hold. Weights that are too small to be compressed are rounded to fp16. The weights of a Core ML package are
    equal to these, bit for bit, except where the converter merges or splits tensors.

    Args:
        module: The module, on any device. `fp32` leaves it as it is.
        kind: The kind of weights.

    Raises:
        CheckpointError: A weight is not finite, or too large for fp16.
        ConfigError: There is no such kind.
    """
    form = weight_format(kind)
    if form.kind == "fp32":
        return
    seen: set[int] = set()
    for part in module.modules():
        axis = channel_axis(part)
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
            if tensor.is_floating_point() and tensor.numel() and id(tensor) not in seen:
                seen.add(id(tensor))
                values = compressed(tensor.detach().cpu().float().numpy(), form, axis)
                tensor.copy_(torch.from_numpy(values))


def channel_axis(module: nn.Module) -> int:
    """The axis of output channels in the weights of a module."""
    return 1 if isinstance(module, _TRANSPOSED) else 0
