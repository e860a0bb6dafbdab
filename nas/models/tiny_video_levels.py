"""The two halves of a tiny autoencoder of clips: levels of blocks that remember the frame before.

All frames are images of one batch, so that no tensor between input and output has more than four dimensions.

Shape suffixes: B clips, T frames, t latent frames, C channels, H height, W width (h and w of a latent), N images: the
frames of all clips at a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

Memory = tuple[torch.Tensor, ...]
"""What each block keeps of the last frame for the next, in the order of the blocks."""

_LATENT_RANGE = 3.0
"""The decoder squeezes latents into this range on both sides of 0, as TAESD does."""


@dataclass(frozen=True)
class Levels:
    """The levels of one half, in the order in which data passes them.

    Args:
        widths: Channels of each level.
        blocks: Blocks of each level.
        space: Between each two levels, the factor on height and width.
        time: Between each two levels, the factor on the number of frames.
        patch: Frames, and pixels along height and width, that are one place of the finest level.
    """

    widths: Sequence[int]
    blocks: Sequence[int]
    space: Sequence[int]
    time: Sequence[int]
    patch: tuple[int, int]

    def modules(self) -> nn.ModuleList:
        """The blocks of each level."""
        stages = zip(self.widths, self.blocks, strict=True)
        return nn.ModuleList(nn.ModuleList(MemoryBlock(width) for _ in range(blocks)) for width, blocks in stages)

    @property
    def patch_values(self) -> int:
        """Values of one colour in a patch."""
        return self.patch[0] * self.patch[1] ** 2


class MemoryBlock(nn.Module):
    """Residual block of three convolutions, the first of which also sees the frame before.

    Args:
        channels: Channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # One product with both halves: what a frame gives to itself, and what it gives to the next frame.
        self.conv_in = nn.Conv2d(channels, 2 * channels, 3, padding=1)
        self.conv_mid = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, x_NCHW: torch.Tensor, clips: int, last_BCHW: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The output, and what the last frame gives to the next.

        Args:
            x_NCHW: Consecutive frames of each clip.
            clips: The number of clips B.
            last_BCHW: What the block returned for the frames before; `None` at the start of the clips.
        """
        own_NCHW, given_NCHW = self.conv_in(x_NCHW).chunk(2, dim=1)
        before_NCHW, last_BCHW = _delayed(given_NCHW, clips, last_BCHW)
        hidden_NCHW = F.relu(own_NCHW + before_NCHW)
        return F.relu(x_NCHW + self.conv_out(F.relu(self.conv_mid(hidden_NCHW)))), last_BCHW


class TinyVideoDecoder(nn.Module):
    """Latents to pixels, from the coarsest level to the finest.

    Args:
        levels: Its levels.
        latent_channels: Channels of a latent.
        out_channels: Channels of a pixel.
    """

    def __init__(self, levels: Levels, latent_channels: int, out_channels: int) -> None:
        super().__init__()
        self.shape = levels
        self.conv_in = nn.Conv2d(latent_channels, levels.widths[0], 3, padding=1)
        self.levels = levels.modules()
        self.changes = nn.ModuleList(
            nn.Conv2d(coarse, fine * growth, 3, padding=1, bias=False)
            for (coarse, fine), growth in zip(pairwise(levels.widths), levels.time, strict=True)
        )
        self.conv_out = nn.Conv2d(levels.widths[-1], out_channels * levels.patch_values, 3, padding=1)

    def forward(self, z_BtChw: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """Frames (B, T, C, H, W) of latents (B, t, C, h, w), and the memory for the latents after them."""
        blocks = _Walk(len(z_BtChw), memory)
        x_NCHW = F.relu(self.conv_in(torch.tanh(z_BtChw.flatten(0, 1) / _LATENT_RANGE) * _LATENT_RANGE))
        x_NCHW = blocks.pass_through(self.levels[0], x_NCHW)
        steps = zip(self.changes, self.levels[1:], self.shape.space, self.shape.time, strict=True)
        for change, level, larger, longer in steps:
            if larger > 1:
                x_NCHW = F.interpolate(x_NCHW, scale_factor=float(larger), mode="nearest")
            x_NCHW = blocks.pass_through(level, _unfold_frames(change(x_NCHW), longer))
        longer, larger = self.shape.patch
        x_NCHW = F.pixel_shuffle(_unfold_frames(self.conv_out(x_NCHW), longer), larger)
        return x_NCHW.reshape(len(z_BtChw), -1, *x_NCHW.shape[1:]), blocks.memory


class TinyVideoEncoder(nn.Module):
    """Pixels to latents, from the finest level to the coarsest.

    Args:
        levels: Its levels; its factors divide.
        in_channels: Channels of a pixel.
        latent_channels: Channels of a latent.
    """

    def __init__(self, levels: Levels, in_channels: int, latent_channels: int) -> None:
        super().__init__()
        self.shape = levels
        self.conv_in = nn.Conv2d(in_channels * levels.patch_values, levels.widths[0], 3, padding=1)
        self.levels = levels.modules()
        self.changes = nn.ModuleList(
            nn.Conv2d(fine * shrinkage, coarse, 3, stride=stride, padding=1, bias=False)
            for (fine, coarse), shrinkage, stride in zip(
                pairwise(levels.widths), levels.time, levels.space, strict=True
            )
        )
        self.conv_out = nn.Conv2d(levels.widths[-1], latent_channels, 3, padding=1)

    def forward(self, x_BTCHW: torch.Tensor, memory: Memory | None) -> tuple[torch.Tensor, Memory]:
        """Latents (B, t, C, h, w) of frames (B, T, C, H, W), and the memory for the frames after them."""
        blocks = _Walk(len(x_BTCHW), memory)
        shorter, smaller = self.shape.patch
        x_NCHW = _fold_frames(F.pixel_unshuffle(x_BTCHW.flatten(0, 1), smaller), shorter)
        x_NCHW = blocks.pass_through(self.levels[0], F.relu(self.conv_in(x_NCHW)))
        for change, level, shorter in zip(self.changes, self.levels[1:], self.shape.time, strict=True):
            x_NCHW = blocks.pass_through(level, change(_fold_frames(x_NCHW, shorter)))
        z_NChw = self.conv_out(x_NCHW)
        return z_NChw.reshape(len(x_BTCHW), -1, *z_NChw.shape[1:]), blocks.memory


class _Walk:
    """A pass through all blocks, which reads the memory of the frames before and collects that of the last frame."""

    def __init__(self, clips: int, memory: Memory | None) -> None:
        self._clips, self._before = clips, None if memory is None else iter(memory)
        self._after: list[torch.Tensor] = []

    def pass_through(self, level: nn.Module, x_NCHW: torch.Tensor) -> torch.Tensor:
        """The output of a level's blocks; without blocks, its activation."""
        blocks = list(level.children())
        for block in blocks:
            x_NCHW, last_BCHW = block(x_NCHW, self._clips, None if self._before is None else next(self._before))
            self._after.append(last_BCHW)
        return x_NCHW if blocks else F.relu(x_NCHW)

    @property
    def memory(self) -> Memory:
        """What all blocks so far keep of the last frame."""
        return tuple(self._after)


def _delayed(x_NCHW: torch.Tensor, clips: int, first_BCHW: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Each frame replaced by the one before, zeros if the first has none; and the last frame, which falls out."""
    images, channels, height, width = x_NCHW.shape
    # Frames beside channels, so that the clips need no dimension of their own.
    frames = x_NCHW.reshape(clips, images // clips * channels, height, width)
    last_BCHW = frames[:, -channels:]
    first_BCHW = torch.zeros_like(last_BCHW) if first_BCHW is None else first_BCHW
    return torch.cat([first_BCHW, frames[:, :-channels]], 1).reshape(x_NCHW.shape), last_BCHW


def _unfold_frames(x_NCHW: torch.Tensor, factor: int) -> torch.Tensor:
    """Groups of channels to consecutive frames: (N, factor*C, H, W) to (N*factor, C, H, W)."""
    return x_NCHW.reshape(-1, x_NCHW.shape[1] // factor, *x_NCHW.shape[2:])


def _fold_frames(x_NCHW: torch.Tensor, factor: int) -> torch.Tensor:
    """Consecutive frames to groups of channels: (N*factor, C, H, W) to (N, factor*C, H, W)."""
    return x_NCHW.reshape(-1, x_NCHW.shape[1] * factor, *x_NCHW.shape[2:])
