"""Between the bytes of a video file and the pixels that models work on."""

from __future__ import annotations

import torch


def to_pixels(video: torch.Tensor) -> torch.Tensor:
    """Bytes of any shape to pixels in [-1, 1]."""
    return video.float() / 127.5 - 1


def to_bytes(video: torch.Tensor) -> torch.Tensor:
    """Pixels in [-1, 1], of any shape, to bytes; values beyond are clamped."""
    return ((video.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
