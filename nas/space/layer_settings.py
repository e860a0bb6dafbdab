"""Settings of temporal layers: their hyper-parameters, and what a search space must know of a layer.

They are separate from the layers' torch modules, so that a space is read and lowered without loading torch.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from nas.files import StrictModel


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
