"""What a temporal layer is.

Shape suffixes in this package: B clips, T frames, C channels, H height, W width, L text tokens, D text width,
N tokens of a sequence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from nas.space.layers import LayerConfig

__all__ = ["LayerConfig", "LayerStack", "TemporalLayer", "fold_frames", "frame_norm", "zero_init"]


class TemporalLayer(nn.Module, ABC):
    """A layer that may stand in a slot between spatial blocks and lets frames exchange information.

    The contract, which `nas.testing.TemporalLayerConformance` checks:

    - it keeps the shape of the video, and works for any batch, and for one frame as well as for the number it
      was built for, so that images and videos train together;
    - it is the identity when freshly built: it adds a residual whose last projection starts at zero
      (`zero_init`), so that inserting it does not disturb a pretrained backbone;
    - no tensor inside it has more than five dimensions, because Core ML refuses the sixth;
    - its implementations (`Config.implementation_fields`) compute the same from the same weights;
    - frames are read only through `forward`: the layer keeps no state between calls.

    To add a layer: subclass, give it a `Config`, and add one line to `nas.space.layers.BUILTIN` (or the
    entry point `nas.temporal_layers` of your own package).

    Args:
        config: Hyper-parameters.
        shape: Shape (B, T, C, H, W) of the video it will see; B is ignored.
        context_width: Width of the text context; `None` for layers that do not read it.
    """

    Config: ClassVar[type[LayerConfig]]
    uses_context: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None) -> None:
        super().__init__()

    @classmethod
    def check(cls, config: LayerConfig, channels: int) -> None:
        """Raise `ValueError` where the hyper-parameters cannot work with this many channels."""

    @abstractmethod
    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Return the video with the layer applied, in the shape it came in."""


class LayerStack(nn.ModuleList):
    """Temporal layers one after another in one place (`LayerConfig.depth`)."""

    def forward(self, x_BTCHW: torch.Tensor, *context: torch.Tensor) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        for layer in self:
            x_BTCHW = layer(x_BTCHW, *context)
        return x_BTCHW


def frame_norm(channels: int) -> nn.GroupNorm:
    """Group norm with as many of the usual 32 groups as divide the channels."""
    return nn.GroupNorm(math.gcd(channels, 32), channels, eps=1e-6)


def fold_frames(norm: nn.Module, x_BTCHW: torch.Tensor) -> torch.Tensor:
    """Apply a per-image module to each frame; Core ML has no group norm of five dimensions."""
    return norm(x_BTCHW.flatten(0, 1)).reshape(x_BTCHW.shape)  # type: ignore[no-any-return]


def zero_init(module: nn.Conv2d | nn.Conv3d | nn.Linear) -> nn.Module:
    """Set a projection's weights and bias to zero and return it."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module
