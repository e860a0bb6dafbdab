"""Metrics of motion: how much moves, and how smoothly.

Shape suffixes: B clips, T frames, N pairs of frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nas.quality.clips.metric import MeanOfClips
from nas.quality.clips.optical_flow import OpticalFlow, warped

Interpolator = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""`f(before_NCHW, after_NCHW)`: the frames in the middle, with pixels from 0 to 1 like its arguments."""

SHARE = 0.05
"""Share of the pixels that dynamic degree looks at: those that move most."""
RATE = 8.0
"""Frames per second that dynamic degree looks at."""


class DynamicDegree(MeanOfClips):
    """Share of clips in which something moves, from 0 to 1, by the rule of VBench (arXiv 2311.17982).

    Of about eight frames per second, each is compared with the next. A pair moves if the flow of the fastest 5% of the
    pixels is longer, in the mean, than 6 pixels of a frame whose shorter side has 256. A clip moves if a quarter of as
    many pairs do as there are frames.

    Args:
        flow: Estimates optical flow.
        fps: Frames per second of the clips.
    """

    name = "dynamic degree"
    direction = "maximize"

    def __init__(self, flow: OpticalFlow, fps: float) -> None:
        self.flow, self.every = flow, max(round(fps / RATE), 1)

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """1 for each clip that moves, 0 for the others."""
        return torch.stack([self._moves(video_TCHW[:: self.every]) for video_TCHW in video_BTCHW])

    def _moves(self, video_TCHW: torch.Tensor) -> torch.Tensor:
        if len(video_TCHW) < 2:
            return torch.zeros(())
        speed_N = fastest(self.flow(video_TCHW[:-1], video_TCHW[1:]))
        threshold = 6.0 * min(video_TCHW.shape[-2:]) / 256
        needed = max(round(4 * len(video_TCHW) / 16), 1)  # VBench needs none of clips of two frames: they always move
        return ((speed_N > threshold).sum() >= needed).float()


def fastest(flow_N2HW: torch.Tensor) -> torch.Tensor:
    """Mean length of the flow (N), in pixels, of the fastest pixels of each pair."""
    length_NK = flow_N2HW.square().sum(dim=1).sqrt().flatten(1)
    return length_NK.topk(max(int(length_NK.shape[1] * SHARE), 1), dim=1).values.mean(dim=1)


class MotionSmoothness(MeanOfClips):
    """How well every second frame follows from its neighbours: `(255 - d) / 255` for a mean absolute difference `d`.

    The metric of VBench (arXiv 2311.17982): every second frame is dropped, interpolated from the frames before and
    after it, and compared. A last frame without a frame after it is not. VBench interpolates with AMT; give that for
    its numbers. 1 is perfectly smooth, as is a still clip.

    Args:
        interpolate: Makes the frames in the middle.
        name: Name of the metric, with what interpolates.
    """

    direction = "maximize"

    def __init__(self, interpolate: Interpolator, name: str = "motion smoothness") -> None:
        self.interpolate, self.name = interpolate, name

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """The smoothness of each clip; 1 for fewer than three frames."""
        return torch.stack([self._smoothness(video_TCHW) for video_TCHW in video_BTCHW])

    def _smoothness(self, video_TCHW: torch.Tensor) -> torch.Tensor:
        kept_NCHW = video_TCHW[::2].float() / 255
        if len(kept_NCHW) < 2:
            return torch.ones(())
        made_NCHW = (self.interpolate(kept_NCHW[:-1], kept_NCHW[1:]) * 255).round().clamp(0, 255)
        dropped_NCHW = video_TCHW[1 : 2 * len(made_NCHW) : 2].float()
        return 1 - (dropped_NCHW - made_NCHW).abs().mean() / 255


class FlowInterpolator:
    """The frame in the middle by optical flow: both neighbours are moved half the way, and averaged.

    The flows of the middle are those of Super SloMo at t = 1/2 (Jiang et al. 2018, arXiv 1712.00080, equation 4),
    without its networks, so that occluded places are blended.

    Args:
        flow: Estimates optical flow.
    """

    def __init__(self, flow: OpticalFlow) -> None:
        self.flow = flow

    def __call__(self, before_NCHW: torch.Tensor, after_NCHW: torch.Tensor) -> torch.Tensor:
        """The frames in the middle, with pixels from 0 to 1."""
        there_N2HW = self.flow(before_NCHW * 255, after_NCHW * 255)
        back_N2HW = self.flow(after_NCHW * 255, before_NCHW * 255)
        half_N2HW = (back_N2HW - there_N2HW) / 4
        return (warped(before_NCHW, half_N2HW) + warped(after_NCHW, -half_N2HW)) / 2
