"""Convolutions over time, alone or together with space.

The one-dimensional ones are `Conv1d` at every pixel. The implementation `conv2d` is a `Conv2d` with a (k, 1) kernel on
(B, C, T, H*W), which Core ML turns into a plain convolution; `conv3d` is a `Conv3d` with a (k, 1, 1) kernel on
(B, C, T, H, W), which keeps height and width apart.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce

import torch
from torch import nn
from torch.nn import functional as F

from nas.models.temporal.base import TemporalLayer, fold_frames, frame_norm, zero_init
from nas.space.layers import BottleneckConvolutionConfig, Convolution3DConfig, TimeConvolutionConfig


class _TimeConvolution(TemporalLayer):
    """Norm, SiLU and convolutions over time at every pixel, added to the input."""

    Config = TimeConvolutionConfig

    def __init__(self, config: TimeConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.form = config.form
        self.norm = frame_norm(shape[2])

    @abstractmethod
    def convolutions(self) -> tuple[nn.Module, ...]:
        """The convolutions, and activations between them, that are applied in turn to (B, C, T, H*W)."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve each pixel over time, in the chosen implementation."""
        h_BTCHW = F.silu(fold_frames(self.norm, x_BTCHW))
        if self.form == "conv3d":
            h_BCTHW = h_BTCHW.transpose(1, 2)
            for module in self.convolutions():
                h_BCTHW = _convolve_3d(module, h_BCTHW) if isinstance(module, nn.Conv2d) else module(h_BCTHW)
            return x_BTCHW + h_BCTHW.transpose(1, 2)
        h_BCTN = h_BTCHW.flatten(3).transpose(1, 2)
        for module in self.convolutions():
            h_BCTN = module(h_BCTN)
        return x_BTCHW + h_BCTN.transpose(1, 2).reshape(x_BTCHW.shape)


class Conv1D(_TimeConvolution):
    """Full convolution over time: every channel sees every channel of the neighbouring frames."""

    def __init__(self, config: TimeConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        self.convolution = nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0))
        zero_init(self.convolution)

    def convolutions(self) -> tuple[nn.Conv2d, ...]:
        """The one full convolution."""
        return (self.convolution,)


class SeparableConv1D(_TimeConvolution):
    """Depthwise convolution over time, then a mix of channels: the cheapest layer that links frames."""

    def __init__(self, config: TimeConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        over_time = nn.Conv2d(channels, channels, (size, 1), padding=(size // 2, 0), groups=channels)
        mix = nn.Conv2d(channels, channels, 1)
        self.convolution = nn.Sequential(over_time, zero_init(mix))

    def convolutions(self) -> tuple[nn.Conv2d, ...]:
        """The depthwise convolution, then the mix of channels."""
        over_time, mix = self.convolution
        assert isinstance(over_time, nn.Conv2d)
        assert isinstance(mix, nn.Conv2d)
        return over_time, mix


class BottleneckConv1D(_TimeConvolution):
    """Convolution over time on fewer channels, between two mixes of channels, as in the blocks of ResNet."""

    Config = BottleneckConvolutionConfig

    def __init__(
        self, config: BottleneckConvolutionConfig, shape: tuple[int, ...], context_width: int | None = None
    ) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        narrow = channels // config.reduction
        self.down = nn.Conv2d(channels, narrow, 1)
        self.convolution = nn.Conv2d(narrow, narrow, (size, 1), padding=(size // 2, 0))
        self.up = zero_init(nn.Conv2d(narrow, channels, 1))

    def convolutions(self) -> tuple[nn.Module, ...]:
        """Fewer channels, the convolution over time, an activation, and all channels again."""
        return self.down, self.convolution, nn.SiLU(), self.up


class Conv3D(TemporalLayer):
    """Convolution over time, height and width at once."""

    Config = Convolution3DConfig

    def __init__(self, config: Convolution3DConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        size, channels = config.kernel_size, shape[2]
        self.form = config.form
        self.norm = frame_norm(channels)
        self.convolution = nn.Conv3d(channels, channels, size, padding=size // 2)
        zero_init(self.convolution)

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Convolve over time and space, in the chosen implementation."""
        h_BTCHW = F.silu(fold_frames(self.norm, x_BTCHW))
        if self.form == "conv2d":
            return x_BTCHW + _convolve_frames(self.convolution, h_BTCHW)
        h_BCTHW: torch.Tensor = self.convolution(h_BTCHW.transpose(1, 2))
        return x_BTCHW + h_BCTHW.transpose(1, 2)


def _convolve_frames(convolution: nn.Conv3d, x_BTCHW: torch.Tensor) -> torch.Tensor:
    """A 3D convolution over (T, H, W) as the sum of one 2D convolution for each frame that a kernel covers.

    One convolution of frames beside their neighbours, joined along channels, is the same, but must first write every
    frame as often as the kernel has frames.
    """
    size, (batch, frames, *image) = convolution.kernel_size[0], x_BTCHW.shape
    # Joined to zeros: a pad of five dimensions is another operation that a phone may refuse.
    edge_BTCHW = x_BTCHW.new_zeros(batch, size // 2, *image)
    around_BTCHW = torch.cat([edge_BTCHW, x_BTCHW, edge_BTCHW], dim=1)
    parts = (
        F.conv2d(
            around_BTCHW[:, first : first + frames].flatten(0, 1),
            weight_OIHW,
            None if first else convolution.bias,
            padding=size // 2,
        )
        for first, weight_OIHW in enumerate(convolution.weight.unbind(2))
    )
    out_NCHW = reduce(torch.add, parts)
    return out_NCHW.reshape(x_BTCHW.shape)


def _convolve_3d(convolution: nn.Conv2d, x_BCTHW: torch.Tensor) -> torch.Tensor:
    """A 2D convolution over (T, H*W) whose kernel is one pixel wide, as a 3D one over (T, H, W)."""
    padding = (int(convolution.padding[0]), 0, 0)
    weight = convolution.weight.unsqueeze(-1)
    return F.conv3d(x_BCTHW, weight, convolution.bias, padding=padding, groups=convolution.groups)
