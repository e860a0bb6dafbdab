"""A temporal layer in its own package: the temporal shift module (Lin et al. 2019, arXiv 1811.08383).

Some channels of each frame are taken from the frame before, and the same number from the frame after. A projection
mixes them with the rest. Shifting costs no arithmetic. Install the package and name the layer in a search space:

    pip install ./examples/custom_layer

    layers:
      shift: {kind: temporal_shift, fraction: 4}
    slots:
      - {stage: mid, candidates: [none, shift]}

Shape suffixes: B clips, T frames, C channels, H height, W width, N = B*T images.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from nas.models.temporal import LayerConfig, TemporalLayer, fold_frames, frame_norm, zero_init


class TemporalShift(TemporalLayer):
    """Shifts channels along time, then mixes all channels of a frame."""

    class Config(LayerConfig):
        """Options of the layer; in a search space, keys of an entry under `layers:`.

        Args:
            fraction: One channel in this many comes from the frame before, and one from the frame after.
        """

        fraction: Annotated[int, Field(ge=2, le=64)] = 8

        def check(self, channels: int) -> None:
            """Refuse a fraction that does not divide the channels."""
            if channels % self.fraction:
                raise ValueError(f"{channels} channels are not divisible by fraction {self.fraction}")

    def __init__(self, config: Config, shape: tuple[int, ...], context_width: int | None = None) -> None:
        super().__init__(config, shape, context_width)
        channels = shape[2]
        self.shifted = channels // config.fraction
        self.norm = frame_norm(channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        zero_init(self.mix)

    def forward(self, x_BTCHW: torch.Tensor, context_BLD: torch.Tensor | None = None) -> torch.Tensor:
        """The video, plus the mixed channels."""
        h_BTCHW = F.silu(fold_frames(self.norm, x_BTCHW))
        before, after, own = h_BTCHW.tensor_split((self.shifted, 2 * self.shifted), dim=2)
        # A frame of zeros is added before the first and after the last; padding counts from the last dimension.
        before = F.pad(before, (0, 0, 0, 0, 0, 0, 1, 0))[:, :-1]
        after = F.pad(after, (0, 0, 0, 0, 0, 0, 0, 1))[:, 1:]
        return x_BTCHW + fold_frames(self.mix, torch.cat((before, after, own), dim=2))
