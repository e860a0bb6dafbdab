"""Codecs: between pixels and the latents that the denoising network works on.

Pixels are in [-1, 1]. Shape suffixes: B clips, T frames, C channels, H height, W width; capital letters of
latents and pixels differ in size, not in meaning. Decoders are blocks of the plan, because their latency
counts; encoding happens on the training machine only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from nas.errors import CheckpointError
from nas.files import read_json
from nas.models.spatial import frames_like
from nas.space import Block, SearchSpace


class Codec(ABC):
    """Encodes and decodes clips.

    Implementations are deterministic, keep the number of frames, and accept any batch.
    """

    @abstractmethod
    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Pixels (B, T, 3, H, W) in [-1, 1] to latents (B, T, C, h, w)."""

    @abstractmethod
    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Latents (B, T, C, h, w) to pixels (B, T, 3, H, W), nominally in [-1, 1]."""


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


class AutoencoderDecoder(nn.Module):
    """The decoder of an autoencoder that diffusers saved."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.scale = float(getattr(autoencoder.config, "scaling_factor", 1.0) or 1.0)
        self.shift = float(getattr(autoencoder.config, "shift_factor", None) or 0.0)

    @classmethod
    def from_block(cls, block: Block) -> AutoencoderDecoder:
        """Build from a plan's block, loading the local folder it names, without the encoding half."""
        autoencoder = load_autoencoder(
            block.text("path"), block.integer("latent_channels"), block.integer("spatial_factor")
        )
        for name in ("encoder", "quant_conv"):
            setattr(autoencoder, name, nn.Identity())
        return cls(autoencoder)

    def forward(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Decode frame by frame, clamped to [-1, 1]."""
        latent_NCHW = latent_BTCHW.flatten(0, 1) / self.scale + self.shift
        video_NCHW = self.autoencoder.decode(latent_NCHW, return_dict=False)[0]
        return frames_like(video_NCHW, latent_BTCHW).clamp(-1, 1)


class IdentityCodec(Codec):
    """The model works on pixels."""

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.encode`."""
        return video_BTCHW

    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.decode`."""
        return latent_BTCHW.clamp(-1, 1)


class SpaceToDepthCodec(Codec):
    """Patches of pixels become channels, without loss."""

    def __init__(self, factor: int) -> None:
        self._decoder = SpaceToDepthDecoder(factor)

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.encode`."""
        latent_NCHW = F.pixel_unshuffle(video_BTCHW.flatten(0, 1), self._decoder.factor)
        return frames_like(latent_NCHW, video_BTCHW)

    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.decode`."""
        return self._decoder(latent_BTCHW)  # type: ignore[no-any-return]


class AutoencoderCodec(Codec):
    """An autoencoder of diffusers, frame by frame; `AutoencoderKL` encodes to the mean of its posterior."""

    def __init__(self, path: str, latent_channels: int, spatial_factor: int) -> None:
        autoencoder = load_autoencoder(path, latent_channels, spatial_factor)
        self._decoder = AutoencoderDecoder(autoencoder).eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.encode`."""
        encoded = self._decoder.autoencoder.encode(video_BTCHW.flatten(0, 1))
        latent_NCHW = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        latent_NCHW = (latent_NCHW - self._decoder.shift) * self._decoder.scale
        return frames_like(latent_NCHW, video_BTCHW)

    @torch.no_grad()
    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.decode`."""
        return self._decoder(latent_BTCHW)  # type: ignore[no-any-return]


def load_autoencoder(path: str, latent_channels: int, spatial_factor: int) -> Any:
    """Load an autoencoder from a folder that diffusers saved; its class is read from `config.json`.

    Args:
        path: The folder.
        latent_channels: Channels that the search space expects of its latent.
        spatial_factor: Pixels per latent pixel that the search space expects.

    Raises:
        CheckpointError: The folder is missing, does not hold an autoencoder of diffusers, or one of other sizes.
    """
    import diffusers

    file = Path(path) / "config.json"
    config = read_json(file, error=CheckpointError)
    name = str(config.get("_class_name", "")) if isinstance(config, dict) else ""
    if not name.startswith("Autoencoder") or not hasattr(diffusers, name):
        raise CheckpointError(f"_class_name {name!r} is not an autoencoder of diffusers", where=file)
    for key, given, expected in (
        ("latent_channels", config.get("latent_channels", latent_channels), latent_channels),
        ("spatial_factor", _spatial_factor(name, config) or spatial_factor, spatial_factor),
    ):
        if given != expected:
            raise CheckpointError(f"its {key} is {given}, but the search space's codec.{key} is {expected}", where=file)
    try:
        return getattr(diffusers, name).from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"cannot be loaded: {error}", where=path) from error


def _spatial_factor(name: str, config: dict[str, Any]) -> int | None:
    """Pixels per latent pixel, for the classes that halve once between any two of their blocks."""
    key = {"AutoencoderKL": "block_out_channels", "AutoencoderTiny": "encoder_block_out_channels"}.get(name)
    return 2 ** (len(config[key]) - 1) if key in config else None


def make_codec(space: SearchSpace) -> Codec:
    """The codec a search space names."""
    codec = space.file.codec
    if codec.kind == "space_to_depth":
        return SpaceToDepthCodec(codec.factor)
    if codec.kind == "autoencoder":
        return AutoencoderCodec(space.resolve_path(codec.path), codec.latent_channels, codec.spatial_factor)
    return IdentityCodec()
