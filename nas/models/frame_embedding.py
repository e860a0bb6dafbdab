"""The frame embedding tells each frame its place in the clip.

Shape suffixes: B clips, T frames, C channels, H height, W width, E time-embedding width.
"""

from __future__ import annotations

import torch
from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid
from torch import nn

from nas.models.temporal import zero_init
from nas.space import Block


class FrameEmbedding(nn.Module):
    """Adds a part that differs from frame to frame to the time embedding of a clip.

    The added part is a small network of embedding plus frame number. So noise level, pooled text and frame number are
    combined nonlinearly before any block reads them. Its last layer starts at zero.

    Args:
        frames: Most frames of a clip.
        width: Width of the time embedding.
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(width, width), nn.SiLU(), zero_init(nn.Linear(width, width)))
        table = get_1d_sincos_pos_embed_from_grid(width, torch.arange(frames)).float()  # type: ignore[no-untyped-call]
        self.register_buffer("positions", table, persistent=False)
        self.positions: torch.Tensor

    @classmethod
    def from_block(cls, block: Block) -> FrameEmbedding:
        """Build from a plan's block."""
        return cls(block.output_shape[1], block.output_shape[2])

    def forward(self, temb_BE: torch.Tensor, sample_BTCHW: torch.Tensor) -> torch.Tensor:
        """Embedding (B, T, E) of each frame; only the number of frames of the sample is used."""
        temb_B1E = temb_BE.unsqueeze(1)
        frames_TE = self.positions[: sample_BTCHW.shape[1]]
        return temb_B1E + self.network(temb_B1E + frames_TE)  # type: ignore[no-any-return]
