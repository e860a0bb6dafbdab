"""Compressed weights of Core AI assets: palettes and integers that the program makes weights of.

coreai-torch has torch operators for both, which its converter lowers. So no other package is needed: Apple's own for
compression brings torchao, whose import disturbs diffusers.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from nas.compression import CompressedKind, WeightFormat, weight_format
from nas.compression.arrays import compressible, int8, palettes
from nas.compression.modules import channel_axis


class _Palettes(nn.Module):
    """A weight as indices into palettes; the converter recognizes its buffers by their names."""

    def __init__(self, values: np.ndarray, form: WeightFormat, axis: int) -> None:
        super().__init__()
        colours, indices = palettes(values, form, axis)
        shape = [1] * values.ndim
        shape[axis] = len(colours)
        table = torch.from_numpy(colours.astype(np.float32)).reshape(*shape, -1, 1)
        self.register_buffer("lut", table)
        self.register_buffer("indices", torch.from_numpy(indices))

    def forward(self) -> torch.Tensor:
        return torch.ops.coreai.lut_to_dense(self.indices, self.lut, 0)  # type: ignore[no-any-return]


class _Integers(nn.Module):
    """A weight as 8-bit integers with a scale for each channel."""

    def __init__(self, values: np.ndarray, axis: int) -> None:
        super().__init__()
        integers, scales = int8(compressible(values), axis)
        self.register_buffer("integers", torch.from_numpy(integers))
        self.register_buffer("scales", torch.from_numpy(scales.astype(np.float32)))

    def forward(self) -> torch.Tensor:
        return torch.ops.coreai.constexpr_blockwise_shift_scale(self.integers, self.scales)  # type: ignore[no-any-return]


class _Restored(nn.Module):
    """Replaces a weight of a module by what is stored elsewhere, without taking that into the module."""

    def __init__(self, store: nn.Module) -> None:
        super().__init__()
        self.__dict__["store"] = store  # not as a part, which would be named after the module

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        restored: torch.Tensor = self.__dict__["store"]()
        return restored


class Stored(nn.Module):
    """A network beside its compressed weights.

    These are not parts of the network, because the converter takes any buffer with `lut` in its full name for a
    palette, such as one of a convolution.
    """

    def __init__(self, network: nn.Module, stores: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stores, self.network = nn.ModuleList(stores), network

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Call the network."""
        return self.network(*inputs)  # type: ignore[no-any-return]


def stored(module: nn.Module, kind: CompressedKind) -> Stored:
    """A copy of a module whose larger weights are compressed as in `nas.compression.compress_module`.

    Args:
        module: The module, on the processor; it stays as it is.
        kind: The kind of weights.

    Raises:
        CheckpointError: A weight is not finite, or too large for fp16.
    """
    importlib.import_module("coreai_torch._compression.custom_layers")  # registers the operators
    form = weight_format(kind)
    found = list(_compressible(module, form))
    values = {id(tensor): tensor.detach().float().numpy() for _, _, tensor, _ in found}
    # What is compressed is not copied.
    network = copy.deepcopy(module, {key: nn.Parameter(torch.empty(0), requires_grad=False) for key in values})
    parts, stores = dict(network.named_modules()), []
    for path, name, tensor, axis in found:
        of_tensor = values[id(tensor)]
        store = _Palettes(of_tensor, form, axis) if form.palettized else _Integers(of_tensor, axis)
        parametrize.register_parametrization(parts[path], name, _Restored(store), unsafe=True)
        stores.append(store)
    return Stored(network, stores)


def _compressible(module: nn.Module, form: WeightFormat) -> Iterator[tuple[str, str, torch.Tensor, int]]:
    """The weights that are compressed: path of their module, name, values and axis of output channels."""
    for path, part in module.named_modules():
        axis = channel_axis(part)
        for name, tensor in part.named_parameters(recurse=False):
            if tensor.is_floating_point() and form.compresses(tensor.shape, axis):
                yield path, name, tensor, axis
