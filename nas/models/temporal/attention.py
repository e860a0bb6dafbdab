"""Attention over time, alone (1D) or together with space (3D), to frames (self) or to text (cross).

SnapGen-V (arXiv 2412.10494) names these candidates without printing their equations; the readings here are:

- `self_attention_1d`: each pixel attends along time, T tokens at every (h, w);
- `self_attention_3d`: every (t, h, w) attends to every other, T*H*W tokens;
- `cross_attention_1d`: one token per frame (its spatial mean) reads the text and moves the whole frame;
- `cross_attention_3d`: every (t, h, w) reads the text.

Positions are fixed sinusoids, so that a layer built for T frames also takes one.
"""

from __future__ import annotations

from typing import Annotated

import torch
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid, get_3d_sincos_pos_embed
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from nas.models.temporal.base import LayerConfig, TemporalLayer, fold_frames, frame_norm, zero_init


class AttentionConfig(LayerConfig):
    """Hyper-parameters of temporal attention.

    Args:
        heads: Attention heads; must divide the channels.
    """

    heads: Annotated[int, Field(ge=1)] = 4


class _Attention(TemporalLayer):
    """Norm, positions, multi-head attention and a zero-initialised projection, added to the input."""

    Config = AttentionConfig
    position_multiple = 2

    def __init__(self, config: AttentionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        _, frames, channels, height, width = shape
        self.heads = config.heads
        self.norm = frame_norm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(context_width or channels, 2 * channels, bias=False)
        self.to_out = zero_init(nn.Linear(channels, channels))
        self.register_buffer("positions", self._positions(frames, channels, height, width), persistent=False)
        self.positions: torch.Tensor

    @classmethod
    def check(cls, config: LayerConfig, channels: int) -> None:
        """See `TemporalLayer.check`."""
        assert isinstance(config, AttentionConfig)
        if channels % config.heads:
            raise ValueError(f"{channels} channels are not divisible by {config.heads} heads")
        if channels % cls.position_multiple:
            raise ValueError(f"{channels} channels are not a multiple of {cls.position_multiple}, as positions need")

    def _positions(self, frames: int, channels: int, height: int, width: int) -> torch.Tensor:
        """Table of positions (T, C)."""
        table_TC: torch.Tensor = get_1d_sincos_pos_embed_from_grid(channels, torch.arange(frames))  # type: ignore[no-untyped-call]
        return table_TC.float()

    def attend(self, query_BNC: torch.Tensor, source_BMK: torch.Tensor) -> torch.Tensor:
        """Multi-head attention of (B, N, C) to (B, M, K), projected to (B, N, C).

        The projection reads each token beside what it attended to. Attention alone averages positions away
        until it has learnt where to look; this way a frame's position reaches the network from the first step.
        """
        q_BHNE = self._split(self.to_q(query_BNC))
        key_BMC, value_BMC = self.to_kv(source_BMK).chunk(2, dim=-1)
        out_BHNE = F.scaled_dot_product_attention(q_BHNE, self._split(key_BMC), self._split(value_BMC))
        out_BNC: torch.Tensor = self.to_out(query_BNC + out_BHNE.transpose(1, 2).flatten(2))
        return out_BNC

    def _split(self, x_BNC: torch.Tensor) -> torch.Tensor:
        batch, tokens, channels = x_BNC.shape
        return x_BNC.reshape(batch, tokens, self.heads, channels // self.heads).transpose(1, 2)


class _Attention3D(_Attention):
    """Attention whose tokens are all pixels of all frames."""

    position_multiple = 16

    def _positions(self, frames: int, channels: int, height: int, width: int) -> torch.Tensor:
        """Table of positions (T, H*W, C)."""
        return get_3d_sincos_pos_embed(channels, (width, height), frames).float()

    def tokens(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Normalised tokens with positions, (B, T*H*W, C)."""
        h_BTNC = fold_frames(self.norm, x_BTCHW).flatten(3).transpose(2, 3)
        return (h_BTNC + self.positions[: x_BTCHW.shape[1]]).flatten(1, 2)

    def residual(self, x_BTCHW: torch.Tensor, h_BNC: torch.Tensor) -> torch.Tensor:
        """Add tokens (B, T*H*W, C) back to the video."""
        batch, frames, channels = x_BTCHW.shape[:3]
        h_BTNC = h_BNC.reshape(batch, frames, -1, channels)
        return x_BTCHW + h_BTNC.transpose(2, 3).reshape(x_BTCHW.shape)


class SelfAttention1D(_Attention):
    """Each pixel attends along time."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        batch, frames, channels, height, width = x_BTCHW.shape
        h_BTCHW = fold_frames(self.norm, x_BTCHW)
        h_NTC = h_BTCHW.flatten(3).permute(0, 3, 1, 2).flatten(0, 1) + self.positions[:frames]
        h_BNTC = self.attend(h_NTC, h_NTC).reshape(batch, height * width, frames, channels)
        return x_BTCHW + h_BNTC.permute(0, 2, 3, 1).reshape(x_BTCHW.shape)


class SelfAttention3D(_Attention3D):
    """Every pixel of every frame attends to all of them."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        h_BNC = self.tokens(x_BTCHW)
        return self.residual(x_BTCHW, self.attend(h_BNC, h_BNC))


class CrossAttention1D(_Attention):
    """One token per frame reads the text and moves the whole frame."""

    uses_context = True

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        assert context_BLD is not None
        h_BTC = fold_frames(self.norm, x_BTCHW).mean(dim=(3, 4)) + self.positions[: x_BTCHW.shape[1]]
        return x_BTCHW + self.attend(h_BTC, context_BLD)[:, :, :, None, None]


class CrossAttention3D(_Attention3D):
    """Every pixel of every frame reads the text."""

    uses_context = True

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """See `TemporalLayer.forward`."""
        assert context_BLD is not None
        return self.residual(x_BTCHW, self.attend(self.tokens(x_BTCHW), context_BLD))
