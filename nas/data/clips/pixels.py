"""Conversion between the bytes of a video file and the pixels that models work on."""

from __future__ import annotations

import torch

from nas.errors import DataError


def to_pixels(video: torch.Tensor) -> torch.Tensor:
    """Bytes of any shape to pixels in [-1, 1]."""
    return torch.div(video, 127.5).sub_(1)  # two passes over a batch, where `video.float() / 127.5 - 1` takes three


def to_bytes(video: torch.Tensor) -> torch.Tensor:
    """Pixels in [-1, 1], of any shape, to bytes; other values are clamped.

    Raises:
        DataError: A pixel is NaN or infinite.
    """
    if not torch.isfinite(video).all():
        raise DataError("a clip is not finite: it holds NaN or infinity", hint="check the model that made it")
    return ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
