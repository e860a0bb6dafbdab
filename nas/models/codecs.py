"""Codecs convert between pixels and the latents that the denoising network works on.

Decoders are blocks of the plan, because their latency counts; encoding happens on the training machine only.
Autoencoders of diffusers are in `nas.models.autoencoders`.

Pixels are in [-1, 1]. Shape suffixes: B clips, T frames, C channels, H height, W width, for latents and pixels alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from nas.models.spatial import frames_like
from nas.space import Block


class Codec(ABC):
    """Encodes and decodes clips.

    A codec is deterministic, and the latent of a clip or frame depends on that clip or frame alone.
    """

    @property
    @abstractmethod
    def identity(self) -> str:
        """A text that decides the latents: codecs with the same identity make the same latents."""

    @property
    @abstractmethod
    def decoder(self) -> nn.Module:
        """The decoder that the plan's block describes, with its weights."""

    def to(self, device: torch.device) -> Self:
        """Move the weights to a device, which pixels and latents must then be on."""
        self.decoder.to(device)
        return self

    @abstractmethod
    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Pixels (B, T, 3, H, W) in [-1, 1] to latents (B, t, C, h, w)."""

    @torch.no_grad()
    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Latents (B, t, C, h, w) to pixels (B, T, 3, H, W) in [-1, 1]."""
        return self.decoder(latent_BTCHW)  # type: ignore[no-any-return]


class IdentityDecoder(nn.Module):
    """Latents are pixels."""

    @classmethod
    def from_block(cls, block: Block) -> IdentityDecoder:
        """Build from a plan's block."""
        return cls()

    def forward(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Return the clip, clamped to [-1, 1]."""
        return latent_BTCHW.clamp(-1, 1)


class SpaceToDepthDecoder(nn.Module):
    """Unfold channels into patches of pixels."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    @classmethod
    def from_block(cls, block: Block) -> SpaceToDepthDecoder:
        """Build from a plan's block."""
        return cls(block.integer("factor"))

    def forward(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Latents (B, T, 3*f*f, h, w) to pixels (B, T, 3, h*f, w*f), clamped to [-1, 1]."""
        video_NCHW = F.pixel_shuffle(latent_BTCHW.flatten(0, 1), self.factor)
        return frames_like(video_NCHW, latent_BTCHW).clamp(-1, 1)


class IdentityCodec(Codec):
    """The model works on pixels."""

    @property
    def identity(self) -> str:
        """The same for every clip."""
        return "pixels as they are"

    @property
    def decoder(self) -> IdentityDecoder:
        """A clamp."""
        return IdentityDecoder()

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """The video itself."""
        return video_BTCHW


class SpaceToDepthCodec(Codec):
    """Patches of pixels become channels, without loss."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    @property
    def identity(self) -> str:
        """The factor."""
        return f"space_to_depth of factor {self.factor}"

    @property
    def decoder(self) -> SpaceToDepthDecoder:
        """The inverse of `encode`."""
        return SpaceToDepthDecoder(self.factor)

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Pixels (B, T, 3, H, W) to (B, T, 3*f*f, H/f, W/f)."""
        latent_NCHW = F.pixel_unshuffle(video_BTCHW.flatten(0, 1), self.factor)
        return frames_like(latent_NCHW, video_BTCHW)
