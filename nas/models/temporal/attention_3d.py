"""Attention over time and space together.

SnapGen-V (arXiv 2412.10494) names `self_attention_3d` and `cross_attention_3d` without giving equations. They are read
here as attention of every (t, h, w) to every other, T*H*W tokens, and of every (t, h, w) to the text. Where frames are
large, two cheaper ones can be afforded:

- `pooled_attention_3d`: keys and values come from frames that are averaged over `pool` x `pool` pixels, as in the
  linear spatial reduction of PVT v2 (arXiv 2106.13797): `pool`^2 times fewer products. The stride self-attention of
  S2DiT (arXiv 2601.12719) makes the queries fewer, too; here, each pixel asks for itself;
- `window_attention_3d`: attention inside windows of all frames times `window` x `window` pixels, as in Video Swin
  (arXiv 2106.13230), without its shift: convolutions and other layers carry information between windows.
"""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_3d_sincos_pos_embed
from torch.nn import functional as F

from nas.models.temporal.attention import Attention
from nas.models.temporal.base import fold_frames
from nas.space.layers import (
    Attention3DConfig,
    AttentionConfig,
    CrossAttention3DConfig,
    PooledAttentionConfig,
    WindowAttentionConfig,
)


class _Attention3D(Attention):
    """Attention whose tokens are all pixels of all frames."""

    Config = Attention3DConfig

    def __init__(self, config: AttentionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.shape = shape[1:]

    def positions_of(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Positions (T, H*W, C) for a video of any size; those of the built size are stored."""
        frames, channels, height, width = x_BTCHW.shape[1:]
        if (height, width) == self.shape[2:]:
            return self.positions[:frames]
        return self._positions(frames, channels, height, width).to(self.positions)

    def _positions(self, frames: int, channels: int, height: int, width: int) -> torch.Tensor:
        """Table of positions (T, H*W, C)."""
        return get_3d_sincos_pos_embed(channels, (width, height), frames).float()

    def tokens(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Normalised tokens with positions, (B, T*H*W, C)."""
        h_BTNC = fold_frames(self.norm, x_BTCHW).flatten(3).transpose(2, 3)
        return (h_BTNC + self.positions_of(x_BTCHW)).flatten(1, 2)

    def residual(self, x_BTCHW: torch.Tensor, h_BNC: torch.Tensor) -> torch.Tensor:
        """Add tokens (B, T*H*W, C) back to the video."""
        batch, frames, channels = x_BTCHW.shape[:3]
        h_BTNC = h_BNC.reshape(batch, frames, -1, channels)
        return x_BTCHW + h_BTNC.transpose(2, 3).reshape(x_BTCHW.shape)


class SelfAttention3D(_Attention3D):
    """Every pixel of every frame attends to all of them."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from every pixel to all pixels."""
        h_BNC = self.tokens(x_BTCHW)
        return self.residual(x_BTCHW, self.attend(h_BNC, h_BNC))


class CrossAttention3D(_Attention3D):
    """Every pixel of every frame reads the text."""

    Config = CrossAttention3DConfig

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from every pixel to the text."""
        assert context_BLD is not None
        return self.residual(x_BTCHW, self.attend(self.tokens(x_BTCHW), context_BLD))


class PooledAttention3D(_Attention3D):
    """Every pixel of every frame attends to frames of fewer pixels."""

    Config = PooledAttentionConfig

    def __init__(self, config: PooledAttentionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.pool = config.pool
        _, _, _, height, width = shape
        self.register_buffer(
            "pooled_positions", self._pooled_positions(self.positions, height, width), persistent=False
        )
        self.pooled_positions: torch.Tensor

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from every pixel to all places of the smaller frames."""
        h_BTCHW = fold_frames(self.norm, x_BTCHW)
        positions_TNC, (frames, height, width) = self.positions_of(x_BTCHW), (x_BTCHW.shape[1], *x_BTCHW.shape[3:])
        query_BTNC = h_BTCHW.flatten(3).transpose(2, 3) + positions_TNC
        if (height, width) == self.shape[2:]:
            pooled_TMC = self.pooled_positions[:frames]
        else:
            pooled_TMC = self._pooled_positions(positions_TNC, height, width)
        small_NCHW = _averaged(h_BTCHW.flatten(0, 1), self.pool)
        source_BTMC = small_NCHW.flatten(2).transpose(1, 2).reshape(len(x_BTCHW), *pooled_TMC.shape) + pooled_TMC
        return self.residual(x_BTCHW, self.attend(query_BTNC.flatten(1, 2), source_BTMC.flatten(1, 2)))

    def _pooled_positions(self, positions_TNC: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Positions (T, M, C) of the places of the smaller frames: the average of those they stand for."""
        image_TCHW = positions_TNC.transpose(1, 2).reshape(len(positions_TNC), -1, height, width)
        return _averaged(image_TCHW, self.pool).flatten(2).transpose(1, 2)


class WindowAttention3D(_Attention3D):
    """Every pixel of every frame attends to those of its window in all frames.

    A window is as large as the largest divisor of the frame's size that is not above `window`, so that windows fill a
    frame of any size.
    """

    Config = WindowAttentionConfig

    def __init__(self, config: WindowAttentionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        self.window = config.window

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend inside each window."""
        batch, frames, channels, height, width = x_BTCHW.shape
        tall, wide = (max(size for size in range(1, self.window + 1) if side % size == 0) for side in (height, width))
        windows = (height // tall) * (width // wide)
        # In two steps, each of four dimensions at most: columns of a window together, then its pixels of all frames.
        rows = self.tokens(x_BTCHW).reshape(-1, tall, width // wide, wide * channels).transpose(1, 2)
        by_window = rows.reshape(batch, frames, windows, -1).transpose(1, 2)
        inside_BNC = by_window.reshape(batch * windows, -1, channels)
        made = self.attend(inside_BNC, inside_BNC).reshape(batch, windows, frames, -1).transpose(1, 2)
        rows = made.reshape(-1, width // wide, tall, wide * channels).transpose(1, 2)
        return self.residual(x_BTCHW, rows.reshape(batch, -1, channels))


def _averaged(x_NCHW: torch.Tensor, pool: int) -> torch.Tensor:
    """Frames averaged over squares of pixels; those at the edges may be smaller."""
    if any(side % pool for side in x_NCHW.shape[2:]):
        return _averaged_along(_averaged_along(x_NCHW, pool, 2), pool, 3)
    return F.avg_pool2d(x_NCHW, pool, pool)


def _averaged_along(x_NCHW: torch.Tensor, pool: int, side: int) -> torch.Tensor:
    """Averages of each `pool` rows (`side` 2) or columns (3), and of those left at the end.

    Torch's own pooling has an option for those (`ceil_mode`), which Core AI's converter ignores.
    """
    rest = x_NCHW.shape[side] % pool
    sizes = [size for size in (x_NCHW.shape[side] - rest, rest) if size]
    made = []
    for part_NCHW in torch.split(x_NCHW, sizes, side):
        size = min(pool, part_NCHW.shape[side])
        kernel = (size, 1) if side == 2 else (1, size)
        made.append(F.avg_pool2d(part_NCHW, kernel, kernel))
    return torch.cat(made, side)
