"""Temporal layers as a search space knows them: their names, and their settings.

The settings of the built-in layers are separate from their torch modules, and a class is imported when it is needed. So
a space is read and lowered without loading torch, and this package does not import `nas.models`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field, field_validator

from nas.files import StrictModel
from nas.registry import Registry
from nas.space.architecture import Architecture

NONE = "none"
"""The candidate that leaves a slot empty."""


class LayerConfig(StrictModel):
    """Base of a temporal layer's hyper-parameters; every field needs a default.

    Args:
        depth: Number of these layers, one after another, in the slot.

    Attributes:
        uses_context: Whether the layer reads the text.
        implementation_fields: Names of the fields that choose an implementation for a device, and change neither what
            the layer computes nor its weights. Each is a `Literal`. See `nas.space.implementations`.
    """

    depth: Annotated[int, Field(ge=1, le=8)] = 1
    uses_context: ClassVar[bool] = False
    implementation_fields: ClassVar[tuple[str, ...]] = ()

    def check(self, channels: int) -> None:
        """Raise `ValueError` if these hyper-parameters cannot work with this many channels."""


class ConvolutionConfig(LayerConfig):
    """Hyper-parameters of a temporal convolution.

    Args:
        kernel_size: Frames (and pixels, for `conv3d`) that one output sees; odd.
    """

    kernel_size: Annotated[int, Field(ge=1, le=31)] = 3

    @field_validator("kernel_size")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"must be odd to keep the number of frames, got {value}")
        return value


class TimeConvolutionConfig(ConvolutionConfig):
    """Hyper-parameters of a convolution over time alone.

    Args:
        form: How it is implemented: as a 2D convolution over (T, H*W), or as a 3D one over (T, H, W).
    """

    form: Literal["conv2d", "conv3d"] = "conv2d"
    implementation_fields: ClassVar[tuple[str, ...]] = ("form",)


class Convolution3DConfig(ConvolutionConfig):
    """Hyper-parameters of a convolution over time, height and width.

    Args:
        form: How it is implemented: as a 3D convolution, or as a sum of 2D ones, one for each frame it covers.
    """

    form: Literal["conv3d", "conv2d"] = "conv3d"
    implementation_fields: ClassVar[tuple[str, ...]] = ("form",)


class BottleneckConvolutionConfig(TimeConvolutionConfig):
    """Hyper-parameters of a convolution over time on fewer channels.

    Args:
        reduction: How many times fewer; must divide the channels.
    """

    reduction: Annotated[int, Field(ge=1)] = 4

    def check(self, channels: int) -> None:
        """The reduction must divide the channels."""
        _check_reduction(channels, self.reduction)


class SharedAttentionConfig(LayerConfig):
    """Hyper-parameters of attention along time whose map all pixels share.

    Args:
        heads: Attention heads; must divide the channels.
    """

    heads: Annotated[int, Field(ge=1)] = 4

    def check(self, channels: int) -> None:
        """Heads must divide the channels, and positions must fill them."""
        _check_heads(channels, self.heads, 2)


class AttentionConfig(LayerConfig):
    """Hyper-parameters of temporal attention.

    Args:
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.

    Attributes:
        position_multiple: What the channels must be a multiple of, so that positions fill them.
    """

    heads: Annotated[int, Field(ge=1)] = 4
    form: Literal["native", "matmul", "split_heads"] = "native"
    implementation_fields: ClassVar[tuple[str, ...]] = ("form",)
    position_multiple: ClassVar[int] = 2

    def check(self, channels: int) -> None:
        """Heads must divide the channels, and positions must fill them."""
        _check_heads(channels, self.heads, self.position_multiple)


class BottleneckAttentionConfig(AttentionConfig):
    """Hyper-parameters of attention along time on fewer channels.

    Args:
        reduction: How many times fewer channels; must divide them.
        heads: Attention heads; must divide the fewer channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    reduction: Annotated[int, Field(ge=1)] = 4

    def check(self, channels: int) -> None:
        """The reduction must divide the channels, and heads what is left of them."""
        _check_reduction(channels, self.reduction)
        fewer = channels // self.reduction
        try:
            super().check(fewer)
        except ValueError as error:
            raise ValueError(
                f"a reduction of {self.reduction} leaves {fewer} of {channels} channels: {error}"
            ) from error


class TransformerConfig(AttentionConfig):
    """Hyper-parameters of attention along time with a feed-forward network.

    Args:
        expansion: Hidden channels of the feed-forward network per channel.
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    expansion: Annotated[int, Field(ge=1, le=16)] = 4


class Attention3DConfig(AttentionConfig):
    """Hyper-parameters of attention over time and space.

    Args:
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    position_multiple: ClassVar[int] = 16


class PooledAttentionConfig(Attention3DConfig):
    """Hyper-parameters of attention to frames of fewer pixels.

    Args:
        pool: Pixels, along height and along width, whose average is one key and one value.
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    pool: Annotated[int, Field(ge=1, le=64)] = 2


class WindowAttentionConfig(Attention3DConfig):
    """Hyper-parameters of attention inside windows of all frames.

    Args:
        window: Pixels of a window along height and along width, at most: the largest number that divides the frame's.
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    window: Annotated[int, Field(ge=1, le=64)] = 8


class CrossAttention1DConfig(AttentionConfig):
    """Hyper-parameters of attention of whole frames to the text.

    Args:
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    uses_context: ClassVar[bool] = True


class CrossAttention3DConfig(Attention3DConfig):
    """Hyper-parameters of attention of every pixel of every frame to the text.

    Args:
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    uses_context: ClassVar[bool] = True


_TEMPORAL = "nas.models.temporal."

BUILTIN: dict[str, tuple[str, type[LayerConfig]]] = {
    "conv1d": (f"{_TEMPORAL}convolution:Conv1D", TimeConvolutionConfig),
    "separable_conv1d": (f"{_TEMPORAL}convolution:SeparableConv1D", TimeConvolutionConfig),
    "bottleneck_conv1d": (f"{_TEMPORAL}convolution:BottleneckConv1D", BottleneckConvolutionConfig),
    "conv3d": (f"{_TEMPORAL}convolution:Conv3D", Convolution3DConfig),
    "self_attention_1d": (f"{_TEMPORAL}attention_1d:SelfAttention1D", AttentionConfig),
    "bottleneck_attention_1d": (f"{_TEMPORAL}attention_1d:BottleneckAttention1D", BottleneckAttentionConfig),
    "shared_attention_1d": (f"{_TEMPORAL}attention_1d:SharedAttention1D", SharedAttentionConfig),
    "transformer_1d": (f"{_TEMPORAL}attention_1d:Transformer1D", TransformerConfig),
    "self_attention_3d": (f"{_TEMPORAL}attention_3d:SelfAttention3D", Attention3DConfig),
    "pooled_attention_3d": (f"{_TEMPORAL}attention_3d:PooledAttention3D", PooledAttentionConfig),
    "window_attention_3d": (f"{_TEMPORAL}attention_3d:WindowAttention3D", WindowAttentionConfig),
    "cross_attention_1d": (f"{_TEMPORAL}attention_1d:CrossAttention1D", CrossAttention1DConfig),
    "cross_attention_3d": (f"{_TEMPORAL}attention_3d:CrossAttention3D", CrossAttention3DConfig),
}
"""Class and settings of the layers of this project; the class has the same settings as its `Config`."""


class ConfiguredLayer(Protocol):
    """What a search space needs of a layer's class, which is a `nas.models.temporal.TemporalLayer`."""

    Config: ClassVar[type[LayerConfig]]


LAYERS: Registry[ConfiguredLayer] = Registry(
    "temporal layer",
    "nas.temporal_layers",
    "nas.models.temporal:TemporalLayer",
    {name: target for name, (target, _) in BUILTIN.items()},
)


def layer_kinds() -> tuple[str, ...]:
    """Names of all registered temporal layers, without `none`."""
    return LAYERS.names()


def layer_config(kind: str) -> type[LayerConfig]:
    """The settings of a layer, by its registered name; those of a built-in layer load no torch.

    Raises:
        ConfigError: As `Registry.get`.
    """
    LAYERS.check(kind)
    return BUILTIN[kind][1] if kind in BUILTIN else LAYERS.get(kind).Config


def _check_heads(channels: int, heads: int, position_multiple: int) -> None:
    if channels % heads:
        raise ValueError(f"{channels} channels are not divisible by {heads} heads")
    if channels % position_multiple:
        raise ValueError(f"{channels} channels are not a multiple of {position_multiple}, as positions need")


def _check_reduction(channels: int, reduction: int) -> None:
    if channels % reduction:
        raise ValueError(f"{channels} channels are not divisible by a reduction of {reduction}")


def layers_text(architecture: Architecture) -> str:
    """The layers of an architecture, leaving out stages that hold none."""
    stages = [
        f"{stage}: {' '.join('-' if name == NONE else name for name in names)}"
        for stage, names in architecture.layers
        if set(names) != {NONE}
    ]
    return "; ".join(stages) or "no temporal layer"
