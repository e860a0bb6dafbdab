"""From what a backbone predicts to the velocity that flow matching integrates.

Shape suffixes: B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import nn

from nas.models.flow import TIMESTEP_SCALE
from nas.space import Block

MIN_LEVEL = 0.02
"""Lower bound of the noise level in the division, so that the result stays small; the last of 50 even steps."""


class DataToVelocity(nn.Module):
    """Velocity from a prediction of the clean data.

    A sample at noise level s is `(1 - s) * data + s * noise`, so the velocity `noise - data` is
    `(sample - data) / s`.
    """

    @classmethod
    def from_block(cls, block: Block) -> DataToVelocity:
        """Build from a plan's block."""
        return cls()

    def forward(self, data_BTCHW: torch.Tensor, sample_BTCHW: torch.Tensor, timestep_B: torch.Tensor) -> torch.Tensor:
        """Velocity of (B, T, C, H, W), given the noisy sample and its timestep in [0, 1000]."""
        level_B = (timestep_B / TIMESTEP_SCALE).clamp(min=MIN_LEVEL)
        return (sample_BTCHW - data_BTCHW) / level_B.reshape(-1, 1, 1, 1, 1)
