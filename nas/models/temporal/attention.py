"""Attention over time, alone (1D) or together with space (3D), to frames (self) or to text (cross).

SnapGen-V (arXiv 2412.10494) names these candidates without giving equations. They are read here as:

- `self_attention_1d`: each pixel attends along time, T tokens at every (h, w);
- `self_attention_3d`: every (t, h, w) attends to every other, T*H*W tokens;
- `cross_attention_1d`: one token per frame (its spatial mean) reads the text and moves the whole frame;
- `cross_attention_3d`: every (t, h, w) reads the text.

Positions are fixed sinusoids, so that a layer built for T frames also takes one.

Attention has three implementations, with the same weights and the same result: torch's own operator, which Core ML
keeps as one operation from iOS 18 on; matrix products around a softmax; and the same for each head separately, on
tensors of three dimensions that are cut and joined along channels and never transposed for heads. Apple
recommends the last for the Neural Engine (https://machinelearning.apple.com/research/neural-engine-transformers), and
calls it split einsum in ml-stable-diffusion, where tokens are also the last dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid, get_3d_sincos_pos_embed
from torch import nn
from torch.nn import functional as F

from nas.models.temporal.base import TemporalLayer, fold_frames, frame_norm, zero_init
from nas.space.layers import (
    Attention3DConfig,
    AttentionConfig,
    CrossAttention1DConfig,
    CrossAttention3DConfig,
)

MOST_SEQUENCES = 2**16 - 1
"""Most sequences that torch's operator takes at once on a GPU: a CUDA grid has no more rows. Attention along time has
one sequence for every place of every clip."""


def _native(q_BNC: torch.Tensor, key_BMC: torch.Tensor, value_BMC: torch.Tensor, heads: int) -> torch.Tensor:
    """Multi-head attention by torch's operator."""
    if q_BNC.shape[0] > MOST_SEQUENCES:
        sources = (torch.split(x_BNC, MOST_SEQUENCES) for x_BNC in (q_BNC, key_BMC, value_BMC))
        return torch.cat([_native(query, key, value, heads) for query, key, value in zip(*sources, strict=True)])
    q_BHNE, key_BHME, value_BHME = (_by_head(x_BNC, heads) for x_BNC in (q_BNC, key_BMC, value_BMC))
    return F.scaled_dot_product_attention(q_BHNE, key_BHME, value_BHME).transpose(1, 2).flatten(2)


def _matmul(q_BNC: torch.Tensor, key_BMC: torch.Tensor, value_BMC: torch.Tensor, heads: int) -> torch.Tensor:
    """Multi-head attention by products of matrices, all heads at once."""
    sources = (_scaled(q_BNC, heads), key_BMC, value_BMC)
    q_BHNE, key_BHME, value_BHME = (_by_head(x_BNC, heads) for x_BNC in sources)
    return _weighted(q_BHNE, key_BHME, value_BHME).transpose(1, 2).flatten(2)


def _split_heads(q_BNC: torch.Tensor, key_BMC: torch.Tensor, value_BMC: torch.Tensor, heads: int) -> torch.Tensor:
    """Multi-head attention by products of matrices, head by head."""
    sources = (_scaled(q_BNC, heads), key_BMC, value_BMC)
    parts = (x_BNC.chunk(heads, dim=-1) for x_BNC in sources)
    return torch.cat([_weighted(*head) for head in zip(*parts, strict=True)], dim=-1)


_ATTENTION: Mapping[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]] = {
    "native": _native,
    "matmul": _matmul,
    "split_heads": _split_heads,
}


def _by_head(x_BNC: torch.Tensor, heads: int) -> torch.Tensor:
    batch, tokens, channels = x_BNC.shape
    return x_BNC.reshape(batch, tokens, heads, channels // heads).transpose(1, 2)


def _scaled(q_BNC: torch.Tensor, heads: int) -> torch.Tensor:
    """The query, scaled for its product with the key; in fp16, the product itself could already have overflowed."""
    return q_BNC / math.sqrt(q_BNC.shape[2] // heads)


def _weighted(q: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of a scaled query over the last two dimensions, tokens and channels."""
    weighted: torch.Tensor = (q @ key.transpose(-2, -1)).softmax(dim=-1) @ value
    return weighted


class _Attention(TemporalLayer):
    """Norm, positions, multi-head attention and a zero-initialised projection, added to the input."""

    Config = AttentionConfig

    def __init__(self, config: AttentionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        _, frames, channels, height, width = shape
        self.heads = config.heads
        self.form = config.form
        self.norm = frame_norm(channels)
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(context_width or channels, 2 * channels, bias=False)
        self.to_out = zero_init(nn.Linear(channels, channels))
        self.register_buffer("positions", self._positions(frames, channels, height, width), persistent=False)
        self.positions: torch.Tensor

    def _positions(self, frames: int, channels: int, height: int, width: int) -> torch.Tensor:
        """Table of positions (T, C)."""
        table_TC: torch.Tensor = get_1d_sincos_pos_embed_from_grid(channels, torch.arange(frames))  # type: ignore[no-untyped-call]
        return table_TC.float()

    def attend(self, query_BNC: torch.Tensor, source_BMK: torch.Tensor) -> torch.Tensor:
        """Multi-head attention of (B, N, C) to (B, M, K), projected to (B, N, C).

        The projection reads each token together with what it attended to. Attention alone averages positions away until
        it has learnt where to look; so a frame's position reaches the network from the first step.
        """
        key_BMC, value_BMC = self.to_kv(source_BMK).chunk(2, dim=-1)
        mixed_BNC = _ATTENTION[self.form](self.to_q(query_BNC), key_BMC, value_BMC, self.heads)
        out_BNC: torch.Tensor = self.to_out(query_BNC + mixed_BNC)
        return out_BNC


class _Attention3D(_Attention):
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


class SelfAttention1D(_Attention):
    """Each pixel attends along time."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend along time at every pixel."""
        batch, frames, channels, height, width = x_BTCHW.shape
        h_BTCHW = fold_frames(self.norm, x_BTCHW)
        h_NTC = h_BTCHW.flatten(3).permute(0, 3, 1, 2).flatten(0, 1) + self.positions[:frames]
        h_BNTC = self.attend(h_NTC, h_NTC).reshape(batch, height * width, frames, channels)
        return x_BTCHW + h_BNTC.permute(0, 2, 3, 1).reshape(x_BTCHW.shape)


class SelfAttention3D(_Attention3D):
    """Every pixel of every frame attends to all of them."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from every pixel to all pixels."""
        h_BNC = self.tokens(x_BTCHW)
        return self.residual(x_BTCHW, self.attend(h_BNC, h_BNC))


class CrossAttention1D(_Attention):
    """One token per frame reads the text and moves the whole frame."""

    Config = CrossAttention1DConfig

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from each frame to the text."""
        assert context_BLD is not None
        h_BTC = fold_frames(self.norm, x_BTCHW).mean(dim=(3, 4)) + self.positions[: x_BTCHW.shape[1]]
        return x_BTCHW + self.attend(h_BTC, context_BLD)[:, :, :, None, None]


class CrossAttention3D(_Attention3D):
    """Every pixel of every frame reads the text."""

    Config = CrossAttention3DConfig

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from every pixel to the text."""
        assert context_BLD is not None
        return self.residual(x_BTCHW, self.attend(self.tokens(x_BTCHW), context_BLD))
