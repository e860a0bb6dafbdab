"""Features of clips, from a run's own model of images.

Shape suffixes: B clips, T frames, C channels, H height, W width, N frames of all clips, L text tokens, D text width,
K features.
"""

from __future__ import annotations

import torch

from nas.data import to_pixels
from nas.models import VideoModel
from nas.models.network import DownPath
from nas.models.parts import unloaded_codec
from nas.models.video_model import batches

FRAMES = 64


class DownPathFeatures:
    """What the down path of a model of images sees in clips; a `FeatureExtractor`.

    Frames are looked at one by one, as the model was trained, and without noise: at timestep 0, so that the network is
    told what it gets, and with the empty caption, so that a clip's features say nothing of what was asked for. Each
    level is pooled to a grid of means per channel; what all levels say is the mean over the frames.

    Args:
        model: A model of images: a network without temporal layers.
        grid: Height and width that each level is pooled to. (1, 1) leaves the mean of each channel.
    """

    def __init__(self, model: VideoModel, grid: tuple[int, int] = (1, 1)) -> None:
        self.model, self.grid = model, grid
        self.path, self.codec = DownPath(model.unet.plan), unloaded_codec(model.space)

    @torch.no_grad()
    def __call__(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Features (B, K) of clips, uint8."""
        latent_BTCHW = self.codec.encode(to_pixels(video_BTCHW))
        frame_N1CHW = latent_BTCHW.flatten(0, 1).unsqueeze(1)
        parts = [self._of_frames(frame_N1CHW[part.start : part.stop]) for part in batches(len(frame_N1CHW), FRAMES)]
        return torch.cat(parts).unflatten(0, latent_BTCHW.shape[:2]).mean(dim=1)

    def _of_frames(self, frame_N1CHW: torch.Tensor) -> torch.Tensor:
        """Features (N, K) of frames."""
        context_NLD = self.model.text_encoder.encode([""] * len(frame_N1CHW))
        levels = self.path(self.model.unet, frame_N1CHW, torch.zeros(len(frame_N1CHW)), context_NLD)
        pooled = [torch.nn.functional.adaptive_avg_pool2d(level.squeeze(1), self.grid) for level in levels]
        return torch.cat([each.flatten(1) for each in pooled], dim=1)
