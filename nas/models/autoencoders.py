"""Autoencoders as codecs: diffusers' own, of images frame by frame and of clips, and this project's.

Shape suffixes as in `nas.models.codecs`; z is a latent of the autoencoder, before scaling.
"""

from __future__ import annotations

import inspect
import json
import math
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from nas.errors import CheckpointError, ConfigError
from nas.models.codecs import Codec
from nas.models.foreign import foreign_errors, load_foreign
from nas.models.spatial import frames_like
from nas.models.weight_files import DIFFUSERS
from nas.models.weights import folder_digest
from nas.space import Block
from nas.space.autoencoder_layouts import autoencoder_class, autoencoder_layout, folder_layout
from nas.space.schema import AutoencoderCodec as AutoencoderEntry


@runtime_checkable
class DecodesFrames(Protocol):
    """An autoencoder that takes clips with frames before channels: this project's, `AutoencoderTinyVideo`.

    Its class is not named here: it brings all autoencoders and transformers of diffusers, two seconds of imports.
    """

    spatial_compression_ratio: int
    temporal_compression_ratio: int

    def decode_frames(self, z_BtChw: torch.Tensor) -> torch.Tensor:
        """Frames (B, T, C, H, W) of latent frames (B, t, C, h, w)."""


class FoldedGroupNorm(nn.GroupNorm):
    """The group norm of a clip (N, C, T, H, W), computed on four dimensions.

    Core ML turns a group norm of five dimensions into six, and takes at most five.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (N, C, ...)."""
        return super().forward(x.flatten(3)).reshape(x.shape) if x.dim() == 5 else super().forward(x)


class AutoencoderDecoder(nn.Module):
    """The decoder of an autoencoder of diffusers.

    An autoencoder of images decodes frame by frame. One with a temporal decoder (`AutoencoderKLTemporalDecoder`)
    decodes frames together with their neighbours. One that convolves in three dimensions decodes whole clips.

    Args:
        autoencoder: The autoencoder; the half that encodes may be missing.
    """

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        for module in autoencoder.modules():
            if type(module) is nn.GroupNorm:
                module.__class__ = FoldedGroupNorm
        factor, stds, means = _scaling(autoencoder.config)
        self.register_buffer("std_C11", _per_channel(stds) / factor, False)
        self.register_buffer("mean_C11", _per_channel(means), False)
        self.std_C11: torch.Tensor
        self.mean_C11: torch.Tensor

    @classmethod
    def from_block(cls, block: Block) -> AutoencoderDecoder:
        """Build from a plan's block, freshly initialised, without the half that encodes.

        Raises:
            ConfigError: diffusers cannot build the layout.
        """
        fields = json.loads(block.text("layout"))
        kind = autoencoder_class(fields.pop("_class_name"), ConfigError, "codec.layout")
        with foreign_errors(f"{kind.__name__} cannot be built", ConfigError, "codec.layout"):
            return cls(without_encoder(kind(**fields)))

    def forward(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Decode, clamped to [-1, 1]."""
        z_BTCHW = latent_BTCHW * self.std_C11 + self.mean_C11
        if isinstance(self.autoencoder, DecodesFrames):
            return self.autoencoder.decode_frames(z_BTCHW).clamp(-1, 1)
        if takes_clips(self.autoencoder):
            return _sample(self.autoencoder.decode(z_BTCHW.transpose(1, 2))).transpose(1, 2).clamp(-1, 1)
        frames = {"num_frames": latent_BTCHW.shape[1]} if _looks_at_others(self.autoencoder) else {}
        return frames_like(_sample(self.autoencoder.decode(z_BTCHW.flatten(0, 1), **frames)), latent_BTCHW).clamp(-1, 1)


class AutoencoderCodec(Codec):
    """An autoencoder of diffusers; one with a posterior encodes to its mean.

    Its weights are loaded when they are first used, so that reading its identity is quick.

    Args:
        codec: The codec of the search space.
        folder: Its folder.
    """

    def __init__(self, codec: AutoencoderEntry, folder: str) -> None:
        self.codec, self.folder = codec, folder

    @cached_property
    def identity(self) -> str:
        """The digest of the folder and the scale; reads a part of each file.

        Raises:
            CheckpointError: The folder is missing.
        """
        factors = f"{self.codec.spatial_factor} times, and {self.codec.temporal_factor} frames to one"
        return f"autoencoder {folder_digest(self.folder)} scaled down {factors}"

    @cached_property
    def decoder(self) -> AutoencoderDecoder:
        """The decoder with its weights; raises as `load_autoencoder`."""
        # Loading draws random weights first, which must not change the random numbers of a training step.
        with torch.random.fork_rng(devices=[]):
            return decoder_of(load_autoencoder(self.codec, self.folder), self.codec, self.folder)

    @torch.no_grad()
    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        """Scaled latents of each clip or frame.

        Raises:
            ConfigError: The autoencoder cannot encode this number of frames.
        """
        frames = video_BTCHW.shape[1]
        try:
            z_BTCHW = self._encode(video_BTCHW)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError, TypeError, AttributeError) as error:
            raise self._cannot(frames, str(error)) from error
        if z_BTCHW.shape[1] != -(-frames // self.codec.temporal_factor):
            raise self._cannot(frames, f"it makes {z_BTCHW.shape[1]} latent frames of them")
        return (z_BTCHW - self.decoder.mean_C11) / self.decoder.std_C11

    def decode(self, latent_BTCHW: torch.Tensor) -> torch.Tensor:
        """Pixels of scaled latents.

        Raises:
            CheckpointError: The autoencoder cannot decode: a setting in its folder is wrong, which only shows here.
        """
        decoder = self.decoder
        with foreign_errors("cannot decode", CheckpointError, self.folder), torch.no_grad():
            return decoder(latent_BTCHW)  # type: ignore[no-any-return]

    def _encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        # One by one: results differ in the last bits with the batch size, and a latent must depend on its clip or frame
        # alone, so that clips encoded in advance, or by more processes, equal those encoded on the fly.
        autoencoder = self.decoder.autoencoder
        if takes_clips(autoencoder):
            clips = torch.split(video_BTCHW.transpose(1, 2), 1)
            return torch.cat([_posterior(autoencoder.encode(clip)) for clip in clips]).transpose(1, 2)
        images = torch.split(video_BTCHW.flatten(0, 1), 1)
        return frames_like(torch.cat([_posterior(autoencoder.encode(image)) for image in images]), video_BTCHW)

    def _cannot(self, frames: int, why: str) -> ConfigError:
        name = type(self.decoder.autoencoder).__name__
        hint = "set image_batch_size: 0" if frames == 1 else "change video.frames or codec.temporal_factor"
        reason = (why.splitlines() or ["no reason given"])[0]
        return ConfigError(f"codec: {name} cannot encode {frames} frames: {reason}", hint=hint)


def takes_clips(autoencoder: nn.Module) -> bool:
    """Whether an autoencoder works on (B, C, T, H, W), and not on single frames."""
    convolves = any(isinstance(module, nn.Conv3d | DecodesFrames) for module in autoencoder.modules())
    return convolves and not _looks_at_others(autoencoder)


def without_encoder(autoencoder: Any) -> Any:
    """The same autoencoder, without the modules that only encode."""
    for name in ("encoder", "quant_conv"):
        if hasattr(autoencoder, name):
            setattr(autoencoder, name, nn.Identity())
    return autoencoder


def load_autoencoder(codec: AutoencoderEntry, folder: str) -> Any:
    """Load an autoencoder from a folder that diffusers saved.

    Args:
        codec: The codec of the search space.
        folder: The folder.

    Raises:
        CheckpointError: The folder is missing, or does not hold the autoencoder that the space describes.
    """
    layout, where = folder_layout(folder), f"{folder}/config.json"
    config = json.loads(layout)
    kind = autoencoder_class(config["_class_name"], CheckpointError, where)
    if codec.layout is not None and autoencoder_layout(codec, folder) != layout:
        raise CheckpointError("is another autoencoder than the search space's codec.layout says", where=where)
    _check_sizes(codec, kind, config, where)
    autoencoder = load_foreign(kind, folder, DIFFUSERS)
    if isinstance(autoencoder, DecodesFrames):
        for factor in ("spatial", "temporal"):
            _check_size(codec, f"{factor}_factor", getattr(autoencoder, f"{factor}_compression_ratio"), where)
    return autoencoder


def decoder_of(autoencoder: Any, codec: AutoencoderEntry, folder: str) -> AutoencoderDecoder:
    """The decoder of an autoencoder that was loaded from a folder, ready for use.

    Raises:
        CheckpointError: Its `config.json` gives no valid scale of its latents.
    """
    where = f"{folder}/config.json"
    with foreign_errors("the scale of its latents is unknown", CheckpointError, where):
        decoder = AutoencoderDecoder(autoencoder)
    for name, values in (("latents_std", decoder.std_C11), ("latents_mean", decoder.mean_C11)):
        if len(values) not in {1, codec.latent_channels}:
            raise CheckpointError(f"{name} has {len(values)} entries, codec.latent_channels is {codec.latent_channels}",
                                  where=where)  # fmt: skip
    return decoder.eval().requires_grad_(False)


def _check_sizes(codec: AutoencoderEntry, kind: Any, config: dict[str, Any], where: str) -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind.__init__).parameters.items()}
    fields = defaults | config
    channels = fields.get("latent_channels", fields.get("z_channels", codec.latent_channels))
    _check_size(codec, "latent_channels", channels, where)
    _check_size(codec, "spatial_factor", _spatial_factor(kind.__name__, fields), where)


def _check_size(codec: AutoencoderEntry, key: str, value: int | None, where: str) -> None:
    expected = getattr(codec, key)
    if value is not None and value != expected:
        raise CheckpointError(f"its {key} is {value}, but the search space's codec.{key} is {expected}", where=where)


def _spatial_factor(name: str, fields: dict[str, Any]) -> int | None:
    """Pixels per latent pixel, for the classes that halve the size between their blocks."""
    widths = {"AutoencoderKL": "block_out_channels", "AutoencoderTiny": "encoder_block_out_channels"}
    levels = fields.get(widths.get(name, ""))
    return 2 ** (len(levels) - 1) if isinstance(levels, list | tuple) else None


def _scaling(config: Any) -> tuple[float, list[float], list[float]]:
    """The scale of latents: a factor, then standard deviations and means, one for all channels or one for each.

    Raises:
        ValueError: A number is not finite, or a deviation is 0.
    """
    factor = float(getattr(config, "scaling_factor", None) or 1.0)
    stds = [float(std) for std in getattr(config, "latents_std", None) or [1.0]]
    shift = getattr(config, "shift_factor", None) or 0.0
    means = [float(mean) for mean in getattr(config, "latents_mean", None) or [shift]]
    if not all(map(math.isfinite, (factor, *stds, *means))) or 0.0 in stds:
        raise ValueError("scaling_factor, shift_factor, latents_mean or latents_std is 0 or not finite")
    return factor, stds, means


def _looks_at_others(autoencoder: Any) -> bool:
    return "num_frames" in inspect.signature(autoencoder.decode).parameters


def _per_channel(values: list[float]) -> torch.Tensor:
    return torch.tensor(values).reshape(-1, 1, 1)


def _sample(decoded: Any) -> torch.Tensor:
    """The decoded tensor; most autoencoders return it inside an output object."""
    return decoded if isinstance(decoded, torch.Tensor) else decoded.sample


def _posterior(encoded: Any) -> torch.Tensor:
    latent: torch.Tensor = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    return latent
