"""What a temporal layer is.

Shape suffixes in this package: B clips, T frames, C channels, H height, W width, L text tokens, D text width,
N tokens of a sequence.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, cast

import torch
from torch import nn

from nas.space.layers import LAYERS, LayerConfig

__all__ = ["LayerConfig", "LayerStack", "TemporalLayer", "fold_frames", "frame_norm", "layer_class", "zero_init"]


class TemporalLayer(nn.Module, ABC):
    """A layer that fills a slot between spatial blocks and lets frames exchange information.

    The contract, which `nas.testing.TemporalLayerConformance` checks:

    - It keeps the shape of the video. It works for any batch, and for one frame as well as for the number it was
      built for, so that images and videos train together.
    - It is the identity when freshly built: it adds a residual whose last projection starts at zero (`zero_init`),
      so that inserting it does not disturb a pretrained backbone.
    - No tensor inside it has more than five dimensions, because Core ML takes no more.
    - Its implementations (`Config.implementation_fields`) compute the same from the same weights.
    - It keeps no state between calls, and reads frames only through `forward`.

    To add a layer, subclass this, give the class a `Config` with its hyper-parameters, and register it: through the
    entry-point group `nas.temporal_layers` of your own package, or by one line in `nas.space.layers.BUILTIN`. Its
    options are then keys of a layer under `layers` of a search space.

    Args:
        config: Hyper-parameters, a `Config`.
        shape: Shape (B, T, C, H, W) of the video it will see; B is ignored.
        context_width: Width of the text context; `None` for layers that do not read it.

    Attributes:
        Config: The layer's hyper-parameters, and what a search space must know of it: whether it reads the text, and
            which numbers of channels it works with.
    """

    Config: ClassVar[type[LayerConfig]] = LayerConfig

    @abstractmethod
    def __init__(self, config: LayerConfig, shape: tuple[int, ...], context_width: int | None) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Return the video with the layer applied, in the shape it came in."""


def layer_class(kind: str) -> type[TemporalLayer]:
    """The class of a registered layer.

    Raises:
        ConfigError: As `nas.registry.Registry.get`.
    """
    return cast(type[TemporalLayer], LAYERS.get(kind))


class LayerStack(nn.ModuleList):
    """Temporal layers one after another in one slot (`LayerConfig.depth`)."""

    def forward(self, x_BTCHW: torch.Tensor, *context: torch.Tensor) -> torch.Tensor:
        """Apply the layers in turn."""
        for layer in self:
            x_BTCHW = layer(x_BTCHW, *context)
        return x_BTCHW


def frame_norm(channels: int) -> nn.GroupNorm:
    """Group norm with as many of the usual 32 groups as divide the channels."""
    return nn.GroupNorm(math.gcd(channels, 32), channels, eps=1e-6)


def fold_frames(per_image: Callable[[torch.Tensor], torch.Tensor], x_BTCHW: torch.Tensor) -> torch.Tensor:
    """Apply a module of images to each frame, whose channels it may change; Core ML has no group norm of rank 5."""
    out_NCHW = per_image(x_BTCHW.flatten(0, 1))
    return out_NCHW.reshape(*x_BTCHW.shape[:2], *out_NCHW.shape[1:])


def zero_init(module: nn.Conv2d | nn.Conv3d | nn.Linear) -> nn.Module:
    """Set a projection's weights and bias to zero and return it."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module
