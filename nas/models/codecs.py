"""Codecs: between pixels and the latents that the denoising network works on.

Pixels are in [-1, 1]. Shape suffixes: B clips, T frames, C channels, H height, W width; capital letters of
latents and pixels differ in size, not in meaning. Decoders are blocks of the plan, because their latency
counts; encoding happens on the training machine only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional as F

from nas.errors import CheckpointError
from nas.files import read_json
from nas.models.spatial import frames_like
from nas.models.weights import folder_digest
from nas.space import Block, SearchSpace


class Codec(ABC):
    """Encodes and decodes clips.

    Implementations are deterministic, treat each frame alone, and accept any batch.
    """

    @property
    @abstractmethod
    def identity(self) -> str:
        """What decides the latents, in words: codecs with the same one make the same latents."""

    def to(self, device: torch.device) -> Self:
        """Move what there is of weights to a device, where pixels and latents are then given."""
        return self

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

    @property
    def identity(self) -> str:
        """See `Codec.identity`."""
        return "pixels as they are"

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

    @property
    def identity(self) -> str:
        """See `Codec.identity`."""
        return f"space_to_depth of factor {self._decoder.factor}"

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.encode`."""
        latent_NCHW = F.pixel_unshuffle(video_BTCHW.flatten(0, 1), self._decoder.factor)
        return frames_like(latent_NCHW, video_BTCHW)

    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.decode`."""
        return self._decoder(latent_BTCHW)  # type: ignore[no-any-return]


class AutoencoderCodec(Codec):
    """An autoencoder of diffusers, frame by frame; `AutoencoderKL` encodes to the mean of its posterior.

    Its weights are loaded when they are first used, so that what needs no more than its identity is quick.
    """

    def __init__(self, path: str, latent_channels: int, spatial_factor: int) -> None:
        self.path, self.latent_channels, self.spatial_factor = path, latent_channels, spatial_factor

    @cached_property
    def identity(self) -> str:
        """See `Codec.identity`; reads some of each file of the folder.

        Raises:
            CheckpointError: The folder is missing.
        """
        return f"autoencoder {folder_digest(self.path)} scaled down {self.spatial_factor} times"

    @cached_property
    def decoder(self) -> AutoencoderDecoder:
        """The autoencoder; raises as `load_autoencoder`."""
        # Loading draws random weights first: whoever needs the codec in the middle of a step must not notice.
        with torch.random.fork_rng(devices=[]):
            autoencoder = load_autoencoder(self.path, self.latent_channels, self.spatial_factor)
        return AutoencoderDecoder(autoencoder).eval().requires_grad_(False)

    def to(self, device: torch.device) -> Self:
        """See `Codec.to`."""
        self.decoder.to(device)
        return self

    @torch.no_grad()
    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.encode`."""
        # One by one: kernels differ in the last bits with the size of a batch, and a frame's latents must depend on
        # the frame alone, so that clips encoded beforehand, or by more processes, are those encoded on the fly.
        latent_NCHW = torch.cat(
            [self._encode_frame(frame_1CHW) for frame_1CHW in torch.split(video_BTCHW.flatten(0, 1), 1)]
        )
        return frames_like(latent_NCHW, video_BTCHW)

    def _encode_frame(self, frame_1CHW: torch.Tensor) -> torch.Tensor:
        encoded = self.decoder.autoencoder.encode(frame_1CHW)
        latent_1CHW = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return (latent_1CHW - self.decoder.shift) * self.decoder.scale  # type: ignore[no-any-return]

    @torch.no_grad()
    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """See `Codec.decode`."""
        return self.decoder(latent_BTCHW)  # type: ignore[no-any-return]


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
    """The codec a search space names; raises as `load_autoencoder`."""
    return unloaded_codec(space).to(torch.device("cpu"))


def unloaded_codec(space: SearchSpace) -> Codec:
    """The codec a search space names, for use where it may not be needed: weights are read when they are."""
    codec = space.file.codec
    if codec.kind == "space_to_depth":
        return SpaceToDepthCodec(codec.factor)
    if codec.kind == "autoencoder":
        return AutoencoderCodec(space.resolve_path(codec.path), codec.latent_channels, codec.spatial_factor)
    return IdentityCodec()
