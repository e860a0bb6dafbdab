"""The discriminator of adversarial distillation: heads on the features of a frozen denoising network.

Each level of the network's down path has a head. It processes every frame (a residual block), then every place along
time (self-attention), as in SF-V (arXiv 2406.04324, section 3.2) and SnapGen-V (arXiv 2412.10494). A single frame is a
clip of one frame, and passes the same heads.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from nas.models.network import DownPath
from nas.models.spatial import frames_like
from nas.models.temporal.attention_1d import SelfAttention1D
from nas.space import Plan
from nas.space.layers import AttentionConfig

Sees = Literal["both", "frames", "time"]
"""What a head reads: frames and then time, or one of the two."""


class DiscriminatorHead(nn.Module):
    """Judges the features of one level: a logit for every place of every frame.

    The text enters as in a projection discriminator (Miyato and Koyama 2018, arXiv 1802.05637): the features are
    multiplied with a projection of the pooled text.

    Args:
        shape: Shape (B, T, C, H, W) of the features; B is ignored, and T may be smaller.
        context_width: Width of the text context.
        sees: What it reads.
    """

    def __init__(self, shape: tuple[int, ...], context_width: int, sees: Sees) -> None:
        super().__init__()
        channels = shape[2]
        groups = math.gcd(channels, 32)
        # Penalties on gradients need second derivatives, which fused attention does not have.
        attention = AttentionConfig(heads=math.gcd(channels, 4), form="matmul")
        self.frames = None if sees == "time" else ResnetBlock2D(
            in_channels=channels, temb_channels=None, groups=groups, groups_out=groups  # type: ignore[arg-type]
        )  # fmt: skip
        self.time = None if sees == "frames" else SelfAttention1D(attention, shape, None)
        self.norm = nn.GroupNorm(groups, channels)
        self.text = nn.Linear(context_width, channels)
        self.judge = nn.Conv2d(channels, 1, 1)

    def forward(self, feature_BTCHW: torch.Tensor, pooled_BD: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, H, W), above 0 where the features look real, for pooled text (B, D)."""
        if self.frames is not None:
            feature_BTCHW = frames_like(self.frames(feature_BTCHW.flatten(0, 1), None), feature_BTCHW)
        if self.time is not None:
            feature_BTCHW = self.time(feature_BTCHW)
        normed_NCHW = nn.functional.silu(self.norm(feature_BTCHW.flatten(0, 1)))
        plain_BTHW = frames_like(self.judge(normed_NCHW), feature_BTCHW).squeeze(2)
        text_BC = self.text(pooled_BD) / math.sqrt(feature_BTCHW.shape[2])
        asked_BTHW = torch.einsum("btchw,bc->bthw", frames_like(normed_NCHW, feature_BTCHW), text_BC)
        return plain_BTHW + asked_BTHW


class Discriminator(nn.Module):
    """A head for each level of a denoising network's down path; `path` gives what they read.

    Args:
        plan: Plan of the network whose features are judged.
        sees: What the heads read.
    """

    def __init__(self, plan: Plan, sees: Sees = "both") -> None:
        super().__init__()
        self.path = DownPath(plan)
        width = plan.inputs[-1].shape[-1]
        self.heads = nn.ModuleList(DiscriminatorHead(shape, width, sees) for shape in self.path.shapes)

    def forward(self, features: tuple[torch.Tensor, ...], context_BLD: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits (B, T, H, W) of each level, above 0 where its features look real."""
        pooled_BD = context_BLD.mean(dim=1)
        return tuple(head(feature, pooled_BD) for head, feature in zip(self.heads, features, strict=True))
