"""A tiny autoencoder of clips, made of 2D convolutions alone.

Its layout follows TAEHV (github.com/madebyollin/taehv): a few blocks per level, each of which sees a frame and the one
before. A phone's Neural Engine can run it, which it cannot with convolutions over three dimensions.

Shape suffixes: B clips, T frames, t latent frames, C channels, H height, W width (h and w of a latent).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DecoderOutput
from torch import nn

from nas.models.tiny_video_levels import Levels, Memory, TinyVideoDecoder, TinyVideoEncoder


class AutoencoderTinyVideo(ModelMixin, ConfigMixin):
    """A tiny autoencoder of clips, which is saved, loaded and called like diffusers' autoencoders.

    A latent frame depends on its own frames and those before. So a clip can be encoded and decoded piece by piece, with
    the same result. The last frame is repeated if the frames do not fill the last latent frame, so that an image is one
    latent frame, too.

    Levels go from the coarsest to the finest in the decoder's fields, and from the finest to the coarsest in the
    encoder's.

    Args:
        in_channels: Channels of a pixel.
        out_channels: The same of decoded clips.
        latent_channels: Channels of a latent.
        decoder_block_out_channels: Channels of each level of the decoder.
        num_decoder_blocks: Blocks of each level of the decoder; 0 for none.
        encoder_block_out_channels: Channels of each level of the encoder.
        num_encoder_blocks: Blocks of each level of the encoder.
        spatial_upsample: Between each two levels of the decoder, whether height and width double.
        temporal_upsample: The same for frames.
        patch_size: Pixels, along height and along width, that are one place of the finest level.
        patch_size_t: Frames that are one frame of the finest level.
        first_frame_apart: Whether the first frame is a latent frame of its own, as in `AutoencoderKLWan`. Then n latent
            frames are `(n - 1) * temporal_factor + 1` frames, and not `n * temporal_factor`.
        latent_frames_at_once: Latent frames that are encoded or decoded together; `None` for all of a clip. Fewer need
            less memory, and give the same result.
        scaling_factor: What latents are multiplied with before they are denoised.
        shift_factor: What is subtracted from them before.
        latents_mean: The same for each channel, in place of `shift_factor`.
        latents_std: What each channel is divided by after that.

    Raises:
        ValueError: The fields do not describe levels that fit each other.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        latent_channels: int = 4,
        decoder_block_out_channels: Sequence[int] = (256, 128, 64),
        num_decoder_blocks: Sequence[int] = (3, 3, 1),
        encoder_block_out_channels: Sequence[int] = (64, 64, 64),
        num_encoder_blocks: Sequence[int] = (1, 3, 3),
        spatial_upsample: Sequence[bool] = (True, True),
        temporal_upsample: Sequence[bool] = (True, True),
        patch_size: int = 2,
        patch_size_t: int = 2,
        first_frame_apart: bool = False,
        latent_frames_at_once: int | None = None,
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
        latents_mean: Sequence[float] | None = None,
        latents_std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        _sizes("in_channels, out_channels and latent_channels", (in_channels, out_channels, latent_channels))
        _sizes("latent_frames_at_once", (1 if latent_frames_at_once is None else latent_frames_at_once,))
        if type(first_frame_apart) is not bool:
            raise ValueError(f"first_frame_apart: expected true or false, got {_text(first_frame_apart)}")
        steps = len(_sizes("decoder_block_out_channels", decoder_block_out_channels)) - 1
        space = _factors("spatial_upsample", spatial_upsample, steps)
        time = _factors("temporal_upsample", temporal_upsample, steps)
        patch = (patch_size_t, patch_size)
        _sizes("patch_size_t and patch_size", patch)
        decoder = _levels("decoder", decoder_block_out_channels, num_decoder_blocks, space, time, patch)
        encoder = _levels("encoder", encoder_block_out_channels, num_encoder_blocks, space[::-1], time[::-1], patch)
        self.first_frame_apart, self.latent_frames_at_once = first_frame_apart, latent_frames_at_once
        self.spatial_compression_ratio = patch_size * math.prod(space)
        self.temporal_compression_ratio = patch_size_t * math.prod(time)
        self.encoder = TinyVideoEncoder(encoder, in_channels, latent_channels)
        self.decoder = TinyVideoDecoder(decoder, latent_channels, out_channels)

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> AutoencoderTinyOutput | tuple[torch.Tensor]:
        """Latents (B, C, t, h, w) of pixels (B, C, T, H, W) in [-1, 1]."""
        z = self.encode_frames(x.transpose(1, 2)).transpose(1, 2)
        return AutoencoderTinyOutput(latents=z) if return_dict else (z,)

    def decode(self, z: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        """Pixels (B, C, T, H, W) of latents (B, C, t, h, w), not clamped to [-1, 1]."""
        x = self.decode_frames(z.transpose(1, 2)).transpose(1, 2)
        return DecoderOutput(sample=x) if return_dict else (x,)

    def forward(self, sample: torch.Tensor, return_dict: bool = True) -> DecoderOutput | tuple[torch.Tensor]:
        """Pixels (B, C, T, H, W), encoded and decoded."""
        x = self.decode_frames(self.encode_frames(sample.transpose(1, 2))).transpose(1, 2)
        return DecoderOutput(sample=x) if return_dict else (x,)

    def encode_frames(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Latents (B, t, C, h, w) of pixels (B, T, C, H, W) in [-1, 1]."""
        factor, at_once = self.temporal_compression_ratio, self.latent_frames_at_once
        first = factor - 1 if self.first_frame_apart else 0
        x_BTCHW = _repeated_ends(x_BTCHW, first, -(x_BTCHW.shape[1] + first) % factor)
        return _in_pieces(self.encoder, x_BTCHW, None if at_once is None else at_once * factor)

    def decode_frames(self, z_BtChw: torch.Tensor) -> torch.Tensor:
        """Pixels (B, T, C, H, W) of latents (B, t, C, h, w), not clamped to [-1, 1]."""
        x_BTCHW = _in_pieces(self.decoder, z_BtChw, self.latent_frames_at_once)
        return x_BTCHW[:, self.temporal_compression_ratio - 1 :] if self.first_frame_apart else x_BTCHW


def _repeated_ends(x_BTCHW: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """The clips with so many copies of the first frame before them, and of the last frame after them."""
    copies = [x_BTCHW[:, :1]] * first + [x_BTCHW] + [x_BTCHW[:, -1:]] * last
    return torch.cat(copies, 1) if len(copies) > 1 else x_BTCHW


def _levels(
    half: str,
    widths: Sequence[int],
    blocks: Sequence[int],
    space: Sequence[int],
    time: Sequence[int],
    patch: tuple[int, int],
) -> Levels:
    """The checked levels of the encoder or decoder; raises as `_sizes`."""
    count = len(space) + 1
    return Levels(
        _sizes(f"{half}_block_out_channels", widths, count),
        _sizes(f"num_{half}_blocks", blocks, count, lowest=0),
        space,
        time,
        patch,
    )


def _in_pieces(half: nn.Module, clip_BTCHW: torch.Tensor, frames: int | None) -> torch.Tensor:
    """The output of the encoder or decoder for a whole clip, of which it gets so many frames at once."""
    memory: Memory | None = None
    made: list[torch.Tensor] = []
    for piece_BTCHW in torch.split(clip_BTCHW, frames or clip_BTCHW.shape[1], dim=1):
        part_BTCHW, memory = half(piece_BTCHW, memory)
        made.append(part_BTCHW)
    return made[0] if len(made) == 1 else torch.cat(made, 1)


def _sizes(name: str, values: Sequence[int], count: int | None = None, *, lowest: int = 1) -> tuple[int, ...]:
    """The values; raises `ValueError` if they are not so many integers of at least `lowest`."""
    if not _are(int, values, count) or min(values) < lowest:
        many = "integers" if count is None else f"{count} integers"
        raise ValueError(f"{name}: expected {many} of at least {lowest}, got {_text(values)}")
    return tuple(values)


def _factors(name: str, values: Sequence[bool], count: int) -> tuple[int, ...]:
    """2 for each true; raises `ValueError` if they are not so many truth values."""
    if not _are(bool, values, count):
        raise ValueError(f"{name}: expected true or false {count} times, one for each two levels, got {_text(values)}")
    return tuple(1 + value for value in values)


def _are(kind: type, values: object, count: int | None) -> bool:
    """Whether these are so many values of a type, one at least if the number is open."""
    if not isinstance(values, list | tuple) or not (len(values) == count or (values and count is None)):
        return False
    return all(type(value) is kind for value in values)


def _text(values: object) -> str:
    return json.dumps(values, default=str)
