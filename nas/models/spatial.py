"""diffusers' own spatial blocks, taking videos.

Each class inherits from the diffusers block, or is made of its parts, and only folds frames into the batch. So
parameter names and arithmetic stay those of `UNet2DConditionModel`.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width, E time-embedding width,
N = B*T images, M places of an image.
"""

from __future__ import annotations

import torch
from diffusers.models.activations import get_activation
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import TextTimeEmbedding, TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from nas.space import Block


def frames_like(x_NCHW: torch.Tensor, video_BTCHW: torch.Tensor) -> torch.Tensor:
    """Unfold (B*T, C, H, W) to (B, T, C, H, W), with B and T of another video."""
    return x_NCHW.reshape(video_BTCHW.shape[0], video_BTCHW.shape[1], *x_NCHW.shape[1:])


def per_frame(x_BX: torch.Tensor, frames: int) -> torch.Tensor:
    """Repeat a value of each clip for its frames: (B, ...) to (B*T, ...)."""
    return x_BX.unsqueeze(1).expand(-1, frames, *x_BX.shape[1:]).flatten(0, 1)


class Conv(nn.Conv2d):
    """3x3 convolution of every frame."""

    @classmethod
    def from_block(cls, block: Block) -> Conv:
        """Build from a plan's block."""
        return cls(block.inputs[0].shape[2], block.output_shape[2], 3, padding=1)

    def forward(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Convolve (B, T, C, H, W)."""
        return frames_like(super().forward(x_BTCHW.flatten(0, 1)), x_BTCHW)


class NormAct(nn.GroupNorm):
    """Group norm and activation of every frame."""

    def __init__(self, groups: int, channels: int, eps: float, act_fn: str) -> None:
        super().__init__(groups, channels, eps=eps)
        self.activation = get_activation(act_fn)

    @classmethod
    def from_block(cls, block: Block) -> NormAct:
        """Build from a plan's block."""
        return cls(block.integer("groups"), block.output_shape[2], block.number("eps"), block.text("act_fn"))

    def forward(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Normalise (B, T, C, H, W)."""
        return frames_like(self.activation(super().forward(x_BTCHW.flatten(0, 1))), x_BTCHW)


class TimeEmbedding(TimestepEmbedding):
    """Sinusoids of the timestep, then two linear layers."""

    def __init__(self, channels: int, width: int, act_fn: str, sinusoids: Timesteps) -> None:
        super().__init__(channels, width, act_fn=act_fn)
        self.sinusoids = sinusoids

    @classmethod
    def from_block(cls, block: Block) -> TimeEmbedding:
        """Build from a plan's block."""
        channels = block.integer("channels")
        sinusoids = Timesteps(channels, block.flag("flip_sin_to_cos"), block.number("freq_shift"))
        return cls(channels, block.output_shape[1], block.text("act_fn"), sinusoids)

    def forward(self, timestep_B: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Embed timesteps of (B,), in [0, 1000], to (B, E)."""
        return super().forward(self.sinusoids(timestep_B).to(self.linear_1.weight.dtype))


class TextEmbedding(TextTimeEmbedding):
    """Pooled text, added to the time embedding (diffusers' `addition_embed_type: text`)."""

    @classmethod
    def from_block(cls, block: Block) -> TextEmbedding:
        """Build from a plan's block."""
        return cls(block.inputs[1].shape[2], block.output_shape[1], num_heads=block.integer("heads"))

    def forward(  # type: ignore[override]
        self, temb_BE: torch.Tensor, context_BLD: torch.Tensor
    ) -> torch.Tensor:
        """Add pooled text of (B, L, D) to the embedding (B, E)."""
        return temb_BE + super().forward(context_BLD)


class Resnet(ResnetBlock2D):
    """Residual block of every frame; in the up path it also reads the skip connection."""

    @classmethod
    def from_block(cls, block: Block) -> Resnet:
        """Build from a plan's block."""
        return cls(
            in_channels=sum(spec.shape[2] for spec in block.inputs if len(spec.shape) == 5),
            out_channels=block.output_shape[2],
            temb_channels=block.inputs[-1].shape[-1],
            groups=block.integer("groups"),
            eps=block.number("eps"),
            dropout=block.number("dropout"),
            non_linearity=block.text("act_fn"),
            time_embedding_norm=block.text("time_norm"),
            output_scale_factor=block.number("scale"),
        )

    def forward(self, x_BTCHW: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        """Apply to (B, T, C, H, W); `rest` is an optional skip of that shape, then the embedding (B[, T], E)."""
        *skips, temb = rest
        x_NCHW = torch.cat([x_BTCHW, *skips], dim=2).flatten(0, 1)
        temb_NE = temb.flatten(0, 1) if temb.dim() == 3 else per_frame(temb, x_BTCHW.shape[1])
        return frames_like(super().forward(x_NCHW, temb_NE), x_BTCHW)


class SpatialTransformer(nn.Module):
    """Self-attention within every frame, cross-attention to the text, feed-forward.

    The weights and the arithmetic are those of diffusers' `Transformer2DModel`. It is written out here because
    importing that class imports all transformers of diffusers.
    """

    def __init__(
        self, channels: int, *, heads: int, layers: int, context_width: int, groups: int, linear: bool
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = _projection(channels, linear=linear)
        self.transformer_blocks = nn.ModuleList(
            BasicTransformerBlock(
                channels, heads, channels // heads, cross_attention_dim=context_width, activation_fn="geglu"
            )
            for _ in range(layers)
        )
        self.proj_out = _projection(channels, linear=linear)

    @classmethod
    def from_block(cls, block: Block) -> SpatialTransformer:
        """Build from a plan's block."""
        return cls(
            block.output_shape[2],
            heads=block.integer("heads"),
            layers=block.integer("layers"),
            context_width=block.inputs[1].shape[2],
            groups=block.integer("groups"),
            linear=block.flag("linear_projection"),
        )

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor) -> torch.Tensor:
        """Apply to (B, T, C, H, W) with text (B, L, D)."""
        context_NLD = per_frame(context_BLD, x_BTCHW.shape[1])
        x_NCHW = x_BTCHW.flatten(0, 1)
        count, channels, height, width = x_NCHW.shape
        tokens_NMC = _tokens(self.proj_in, self.norm(x_NCHW))
        for block in self.transformer_blocks:
            tokens_NMC = block(tokens_NMC, encoder_hidden_states=context_NLD)
        if isinstance(self.proj_out, nn.Linear):
            tokens_NMC = self.proj_out(tokens_NMC)
        out_NCHW = tokens_NMC.reshape(count, height, width, channels).permute(0, 3, 1, 2).contiguous()
        if isinstance(self.proj_out, nn.Conv2d):
            out_NCHW = self.proj_out(out_NCHW)
        return frames_like(out_NCHW + x_NCHW, x_BTCHW)


def _projection(channels: int, *, linear: bool) -> nn.Linear | nn.Conv2d:
    return nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)


def _tokens(projection: nn.Linear | nn.Conv2d, x_NCHW: torch.Tensor) -> torch.Tensor:
    """Images as projected tokens (N, H*W, C)."""
    if isinstance(projection, nn.Conv2d):
        return _rows(projection(x_NCHW))
    return projection(_rows(x_NCHW))  # type: ignore[no-any-return]


def _rows(x_NCHW: torch.Tensor) -> torch.Tensor:
    count, channels, height, width = x_NCHW.shape
    return x_NCHW.permute(0, 2, 3, 1).reshape(count, height * width, channels)


class Downsample(Downsample2D):
    """Halve height and width of every frame."""

    @classmethod
    def from_block(cls, block: Block) -> Downsample:
        """Build from a plan's block."""
        channels = block.output_shape[2]
        return cls(channels, use_conv=True, out_channels=channels, padding=block.integer("padding"), name="op")

    def forward(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Apply to (B, T, C, H, W)."""
        return frames_like(super().forward(x_BTCHW.flatten(0, 1)), x_BTCHW)


class Upsample(Upsample2D):
    """Double height and width of every frame."""

    @classmethod
    def from_block(cls, block: Block) -> Upsample:
        """Build from a plan's block."""
        channels = block.output_shape[2]
        return cls(channels, use_conv=True, out_channels=channels)

    def forward(self, x_BTCHW: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Apply to (B, T, C, H, W)."""
        return frames_like(super().forward(x_BTCHW.flatten(0, 1)), x_BTCHW)
