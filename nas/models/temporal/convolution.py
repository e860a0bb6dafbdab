"""Convolutions over time, alone or together with space.

The one-dimensional ones are written as `Conv2d` with a (k, 1) kernel on (B, C, T, H*W): the same arithmetic as
`Conv1d` at every pixel, in the layout that Core ML turns into a plain convolution.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional as F

from nas.models.temporal.base import LayerConfig, TemporalLayer, fold_frames, frame_norm, zero_init


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


class _TimeConvolution(TemporalLayer):
    """Norm, SiLU and a convolution over time at every pixel, added to the input."""

    Config = ConvolutionConfig
    convolution: nn.Module

    def __init__(self, config: ConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.norm = frame_norm(shape[2])

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        h_BTCN = F.silu(fold_frames(self.norm, x_BTCHW)).flatten(3)
        h_BCTN: torch.Tensor = self.convolution(h_BTCN.transpose(1, 2))
        return x_BTCHW + h_BCTN.transpose(1, 2).reshape(x_BTCHW.shape)


class Conv1D(_TimeConvolution):
    """Full convolution over time: every channel sees every channel of the neighbouring frames."""

    def __init__(self, config: ConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        self.convolution = zero_init(nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0)))


class SeparableConv1D(_TimeConvolution):
    """Depthwise convolution over time, then a mix of channels: the cheapest layer that links frames."""

    def __init__(self, config: ConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        self.convolution = nn.Sequential(
            nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0), groups=channels),
            zero_init(nn.Conv2d(channels, channels, 1)),
        )


class Conv3D(TemporalLayer):
    """Convolution over time, height and width at once."""

    Config = ConvolutionConfig

    def __init__(self, config: ConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        self.norm = frame_norm(channels)
        self.convolution = zero_init(nn.Conv3d(channels, channels, size, padding=size // 2))

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        h_BTCHW = F.silu(fold_frames(self.norm, x_BTCHW))
        h_BCTHW: torch.Tensor = self.convolution(h_BTCHW.transpose(1, 2))
        return x_BTCHW + h_BCTHW.transpose(1, 2)
