"""Multi-head attention in its implementations, and what all attention layers have in common.

Positions are fixed sinusoids, so that a layer built for T frames also takes one.

Attention has three implementations, with the same weights and the same result: torch's own operator, which Core ML
keeps as one operation from iOS 18 on; matrix products around a softmax; and the same for each head separately, on
tensors of three dimensions that are cut and joined along channels and never transposed for heads. Apple
recommends the last for the Neural Engine (https://machinelearning.apple.com/research/neural-engine-transformers), and
calls it split einsum in ml-stable-diffusion, where tokens are also the last dimension.

Shape suffixes beside those of `nas.models.temporal.base`: M tokens that are read, K their width, E channels of a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid
from torch import nn
from torch.nn import functional as F

from nas.models.temporal.base import TemporalLayer, frame_norm, zero_init
from nas.space.layers import AttentionConfig

MOST_SEQUENCES = 2**16 - 1
"""Most sequences that torch's operator takes at once on a GPU: a CUDA grid has no more rows. Attention along time has
one sequence for every place of every clip."""


def _native(q_BNC: torch.Tensor, key_BMC: torch.Tensor, value_BMC: torch.Tensor, heads: int) -> torch.Tensor:
    """Multi-head attention by torch's operator."""
    if q_BNC.shape[0] > MOST_SEQUENCES:
        sources = (torch.split(x_BNC, MOST_SEQUENCES) for x_BNC in (q_BNC, key_BMC, value_BMC))
        return torch.cat([_native(query, key, value, heads) for query, key, value in zip(*sources, strict=True)])
    q_BHNE, key_BHME, value_BHME = (by_head(x_BNC, heads) for x_BNC in (q_BNC, key_BMC, value_BMC))
    return F.scaled_dot_product_attention(q_BHNE, key_BHME, value_BHME).transpose(1, 2).flatten(2)


def _matmul(q_BNC: torch.Tensor, key_BMC: torch.Tensor, value_BMC: torch.Tensor, heads: int) -> torch.Tensor:
    """Multi-head attention by products of matrices, all heads at once."""
    sources = (scaled(q_BNC, heads), key_BMC, value_BMC)
    q_BHNE, key_BHME, value_BHME = (by_head(x_BNC, heads) for x_BNC in sources)
    return weighted_sum(q_BHNE, key_BHME, value_BHME).transpose(1, 2).flatten(2)


def _split_heads(q_BNC: torch.Tensor, key_BMC: torch.Tensor, value_BMC: torch.Tensor, heads: int) -> torch.Tensor:
    """Multi-head attention by products of matrices, head by head."""
    sources = (scaled(q_BNC, heads), key_BMC, value_BMC)
    parts = (x_BNC.chunk(heads, dim=-1) for x_BNC in sources)
    return torch.cat([weighted_sum(*head) for head in zip(*parts, strict=True)], dim=-1)


_ATTENTION: Mapping[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]] = {
    "native": _native,
    "matmul": _matmul,
    "split_heads": _split_heads,
}


def by_head(x_BNC: torch.Tensor, heads: int) -> torch.Tensor:
    """Channels cut into heads: (B, N, C) to (B, heads, N, E)."""
    batch, tokens, channels = x_BNC.shape
    return x_BNC.reshape(batch, tokens, heads, channels // heads).transpose(1, 2)


def scaled(q_BNC: torch.Tensor, heads: int) -> torch.Tensor:
    """The query, scaled for its product with the key; in fp16, the product itself could already have overflowed."""
    return q_BNC / math.sqrt(q_BNC.shape[2] // heads)


def weighted_sum(q: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention of a scaled query over the last two dimensions, tokens and channels."""
    weighted: torch.Tensor = (q @ key.transpose(-2, -1)).softmax(dim=-1) @ value
    return weighted


def frame_positions(frames: int, channels: int) -> torch.Tensor:
    """Fixed sinusoids (T, C) that tell frames apart."""
    table_TC: torch.Tensor = get_1d_sincos_pos_embed_from_grid(channels, torch.arange(frames))  # type: ignore[no-untyped-call]
    return table_TC.float()


class Attention(TemporalLayer):
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
        return frame_positions(frames, channels)

    def attend(self, query_BNC: torch.Tensor, source_BMK: torch.Tensor) -> torch.Tensor:
        """Multi-head attention of (B, N, C) to (B, M, K), projected to (B, N, C).

        The projection reads each token together with what it attended to. Attention alone averages positions away until
        it has learnt where to look; so a frame's position reaches the network from the first step.
        """
        key_BMC, value_BMC = self.to_kv(source_BMK).chunk(2, dim=-1)
        mixed_BNC = _ATTENTION[self.form](self.to_q(query_BNC), key_BMC, value_BMC, self.heads)
        out_BNC: torch.Tensor = self.to_out(query_BNC + mixed_BNC)
        return out_BNC
