"""Attention over time alone, at every pixel or for whole frames.

SnapGen-V (arXiv 2412.10494) names `self_attention_1d` and `cross_attention_1d` without giving equations. They are read
here as attention of each pixel along time, T tokens at every (h, w), and as one token per frame (its spatial mean) that
reads the text and moves the whole frame. Three cheaper or larger ones are built of the first:

- `bottleneck_attention_1d`: the same on a fraction of the channels;
- `shared_attention_1d`: one map of T x T weights per head for a whole clip, computed from the spatial means of its
  frames and shared by all pixels. Products of two activations are slow on a phone, and this has H*W times fewer;
- `transformer_1d`: attention along time and a feed-forward network, as in the motion modules of AnimateDiff (arXiv
  2307.04725), which have most of their weights there.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from nas.models.temporal.attention import Attention, by_head, frame_positions, scaled
from nas.models.temporal.base import TemporalLayer, fold_frames, frame_norm, zero_init
from nas.space.layers import (
    BottleneckAttentionConfig,
    CrossAttention1DConfig,
    SharedAttentionConfig,
    TransformerConfig,
)


class SelfAttention1D(Attention):
    """Each pixel attends along time."""

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend along time at every pixel."""
        batch, frames, channels, height, width = x_BTCHW.shape
        h_BTCHW = fold_frames(self.norm, x_BTCHW)
        h_NTC = h_BTCHW.flatten(3).permute(0, 3, 1, 2).flatten(0, 1) + self.positions[:frames]
        h_BNTC = self.attend(h_NTC, h_NTC).reshape(batch, height * width, frames, channels)
        return x_BTCHW + h_BNTC.permute(0, 2, 3, 1).reshape(x_BTCHW.shape)


class CrossAttention1D(Attention):
    """One token per frame reads the text and moves the whole frame."""

    Config = CrossAttention1DConfig

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend from each frame to the text."""
        assert context_BLD is not None
        h_BTC = fold_frames(self.norm, x_BTCHW).mean(dim=(3, 4)) + self.positions[: x_BTCHW.shape[1]]
        return x_BTCHW + self.attend(h_BTC, context_BLD)[:, :, :, None, None]


class BottleneckAttention1D(TemporalLayer):
    """Each pixel attends along time, on fewer channels."""

    Config = BottleneckAttentionConfig

    def __init__(
        self, config: BottleneckAttentionConfig, shape: tuple[int, ...], context_width: int | None = None
    ) -> None:
        super().__init__(config, shape, context_width)
        batch, frames, channels, *image = shape
        narrow = channels // config.reduction
        self.down = nn.Conv2d(channels, narrow, 1)
        self.attention = SelfAttention1D(config, (batch, frames, narrow, *image))
        self.up = zero_init(nn.Conv2d(narrow, channels, 1))

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend along time at every pixel, between two mixes of channels."""
        narrow_BTCHW = self.attention(fold_frames(self.down, x_BTCHW))
        return x_BTCHW + fold_frames(self.up, narrow_BTCHW)


class SharedAttention1D(TemporalLayer):
    """Frames attend to each other with one map per clip and head, which all pixels share."""

    Config = SharedAttentionConfig

    def __init__(self, config: SharedAttentionConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        frames, channels = shape[1:3]
        self.heads = config.heads
        self.norm = frame_norm(channels)
        self.to_qk = nn.Linear(channels, 2 * channels, bias=False)
        self.to_v = nn.Conv2d(channels, channels, 1, bias=False)
        self.to_out = zero_init(nn.Conv2d(channels, channels, 1))
        self.register_buffer("positions", frame_positions(frames, channels), persistent=False)
        self.positions: torch.Tensor

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Mix the frames of every pixel with the weights that whole frames give each other."""
        h_BTCHW = fold_frames(self.norm, x_BTCHW)
        # A head's channels of all pixels are one long token, so that one product mixes the frames of all of them.
        value_BHTN = by_head(fold_frames(self.to_v, h_BTCHW).flatten(2), self.heads)
        mixed_BTCHW = (self.frame_map(h_BTCHW) @ value_BHTN).transpose(1, 2).reshape(x_BTCHW.shape)
        return x_BTCHW + fold_frames(self.to_out, h_BTCHW + mixed_BTCHW)

    def frame_map(self, h_BTCHW: torch.Tensor) -> torch.Tensor:
        """How much each frame takes of each other, (B, heads, T, T); the last dimension sums to 1."""
        h_BTC = h_BTCHW.mean(dim=(3, 4)) + self.positions[: h_BTCHW.shape[1]]
        query_BTC, key_BTC = self.to_qk(h_BTC).chunk(2, dim=-1)
        query_BHTE, key_BHTE = by_head(scaled(query_BTC, self.heads), self.heads), by_head(key_BTC, self.heads)
        return (query_BHTE @ key_BHTE.transpose(-2, -1)).softmax(dim=-1)


class Transformer1D(TemporalLayer):
    """Each pixel attends along time, then passes through a gated feed-forward network (GEGLU, arXiv 2002.05202)."""

    Config = TransformerConfig

    def __init__(self, config: TransformerConfig, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        channels, hidden = shape[2], config.expansion * shape[2]
        self.attention = SelfAttention1D(config, shape)
        self.norm = frame_norm(channels)
        self.expand = nn.Conv2d(channels, 2 * hidden, 1)
        self.contract = zero_init(nn.Conv2d(hidden, channels, 1))

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """Attend along time, then mix the channels of each pixel."""
        x_BTCHW = self.attention(x_BTCHW)
        return x_BTCHW + fold_frames(self.feed_forward, fold_frames(self.norm, x_BTCHW))

    def feed_forward(self, h_NCHW: torch.Tensor) -> torch.Tensor:
        """The feed-forward network on frames."""
        value_NCHW, gate_NCHW = self.expand(h_NCHW).chunk(2, dim=1)
        out_NCHW: torch.Tensor = self.contract(value_NCHW * F.gelu(gate_NCHW))
        return out_NCHW
