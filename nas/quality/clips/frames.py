"""Metrics of the frames of a clip: do they keep to one subject and background, and do they show what was asked for?

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width, K features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nas.quality.clips.encoders import ClipEncoder, ImageEncoder
from nas.quality.clips.metric import MeanOfClips


def consistency(feature_BTK: torch.Tensor) -> torch.Tensor:
    """How much each frame is like the first one and like the one before it (B).

    The mean over the frames after the first of `(max(0, cos(first, frame)) + max(0, cos(previous, frame))) / 2`, as in
    VBench. Features have length 1. A single frame is consistent: 1.
    """
    if feature_BTK.shape[1] == 1:
        return torch.ones(len(feature_BTK))
    first = (feature_BTK[:, 1:] * feature_BTK[:, :1]).sum(dim=-1).clamp(min=0)
    previous = (feature_BTK[:, 1:] * feature_BTK[:, :-1]).sum(dim=-1).clamp(min=0)
    return ((first + previous) / 2).mean(dim=1)


def frame_features(encoder: ImageEncoder, video_BTCHW: torch.Tensor) -> torch.Tensor:
    """Features (B, T, K) of the frames of uint8 clips."""
    return encoder.images(video_BTCHW.flatten(0, 1)).reshape(*video_BTCHW.shape[:2], -1)


class FrameConsistency(MeanOfClips):
    """Similarity of the frames of a clip, from 0 to 1.

    VBench (arXiv 2311.17982) calls it subject consistency with DINO, and background consistency with CLIP. A still clip
    has 1, so judge it together with how much moves.

    Args:
        encoder: Encodes frames.
        name: Name of the metric.
    """

    direction = "maximize"

    def __init__(self, encoder: ImageEncoder, name: str) -> None:
        self.encoder, self.name = encoder, name

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """The consistency of each clip."""
        return consistency(frame_features(self.encoder, video_BTCHW))


class TextAlignment(MeanOfClips):
    """Mean cosine of a caption and the frames of its clip in CLIP's space, from -1 to 1.

    The CLIPSIM of Wu et al. 2021 (arXiv 2104.14806). Others print 100 times this number as CLIP score.

    Args:
        encoder: CLIP with its tokenizer.
    """

    name = "text alignment"
    direction = "maximize"

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder = encoder

    def judge(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        """The alignment of each clip."""
        text_BK = self.encoder.texts(prompts)
        return (frame_features(self.encoder, video_BTCHW) * text_BK.unsqueeze(1)).sum(dim=-1).mean(dim=1)
