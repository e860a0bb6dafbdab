"""Temporal layers as a search space knows them: their names, and their settings.

The settings of the built-in layers are separate from their torch modules, and a class is imported when it is needed. So
a space is read and lowered without loading torch, and this package does not import `nas.models`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field, field_validator

from nas.files import StrictModel
from nas.registry import Registry

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
        if channels % self.heads:
            raise ValueError(f"{channels} channels are not divisible by {self.heads} heads")
        if channels % self.position_multiple:
            raise ValueError(f"{channels} channels are not a multiple of {self.position_multiple}, as positions need")


class Attention3DConfig(AttentionConfig):
    """Hyper-parameters of attention over time and space.

    Args:
        heads: Attention heads; must divide the channels.
        form: How attention is implemented: as one operator, as matrix products, or as matrix products for each head.
    """

    position_multiple: ClassVar[int] = 16


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


BUILTIN: dict[str, tuple[str, type[LayerConfig]]] = {
    "conv1d": ("nas.models.temporal.convolution:Conv1D", TimeConvolutionConfig),
    "separable_conv1d": ("nas.models.temporal.convolution:SeparableConv1D", TimeConvolutionConfig),
    "conv3d": ("nas.models.temporal.convolution:Conv3D", ConvolutionConfig),
    "self_attention_1d": ("nas.models.temporal.attention:SelfAttention1D", AttentionConfig),
    "self_attention_3d": ("nas.models.temporal.attention:SelfAttention3D", Attention3DConfig),
    "cross_attention_1d": ("nas.models.temporal.attention:CrossAttention1D", CrossAttention1DConfig),
    "cross_attention_3d": ("nas.models.temporal.attention:CrossAttention3D", CrossAttention3DConfig),
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
