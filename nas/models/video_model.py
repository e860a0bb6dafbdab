"""A complete text-to-video model: text encoder, denoising network and codec, with its folder format.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from nas.compression import compress_module
from nas.errors import TrainingError
from nas.files import StrictModel, atomic_folder, load_yaml, write_yaml
from nas.models.codecs import Codec
from nas.models.flow import starting_noise
from nas.models.model_folders import unet_file
from nas.models.network import VideoUNet
from nas.models.parts import compressed_codec, make_text_encoder, unloaded_codec
from nas.models.text.encoder import TextEncoder
from nas.models.weights import load_into, load_safetensors, save_safetensors
from nas.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

STRONG_GUIDANCE = 100.0
"""Above this guidance scale, the scale is the likely cause of a clip that is not finite, rather than the weights."""


class Generation(StrictModel):
    """How a model is sampled; saved with its weights.

    Args:
        steps: Denoising steps.
        guidance_scale: Weight of classifier-free guidance (Ho and Salimans 2022); 1 means none, and halves the cost.
        shift: Timestep shift of the flow-matching schedule (Esser et al. 2024, eq. 23); 1 means none.
    """

    steps: PositiveInt = 25
    guidance_scale: Annotated[float, Field(ge=1.0)] = 3.0
    shift: PositiveFloat = 1.0


def flow_schedule(steps: int, shift: float = 1.0) -> FlowMatchEulerDiscreteScheduler:
    """A scheduler whose noise levels fall evenly from 1 to 1/steps, then to 0, shifted by `shift`."""
    # Its import loads all of scipy.stats.
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    scheduler: FlowMatchEulerDiscreteScheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=[1 - index / steps for index in range(steps)])
    return scheduler


@dataclass
class VideoModel:
    """A text-to-video model that can be saved, loaded and sampled.

    Args:
        space: The search space the architecture belongs to.
        architecture: The layers of `unet`.
        unet: Predicts velocities (flow matching: noise minus data).
        text_encoder: Encodes captions.
        generation: Default sampling settings.
        codec: Decodes latents; that of the space when left out.
    """

    space: SearchSpace
    architecture: Architecture
    unet: VideoUNet
    text_encoder: TextEncoder
    generation: Generation
    codec: Codec | None = None

    @classmethod
    def build(cls, space: SearchSpace, architecture: Architecture, generation: Generation) -> VideoModel:
        """A model with fresh weights; set torch's seed before to reproduce it."""
        architecture = space.check(architecture)
        return cls(space, architecture, VideoUNet(space.lower(architecture)), make_text_encoder(space), generation)

    def save(self, folder: str | Path) -> None:
        """Write weights, space, architecture and settings to a folder, atomically.

        Raises:
            StorageError: The folder holds files that were not written here, or cannot be written.
        """
        with atomic_folder(folder, "model") as root:
            self.write_files(root)

    def write_files(self, folder: Path) -> None:
        """Write the files of `save` into an existing folder."""
        save_safetensors(folder / "unet.safetensors", self.unet.state_dict())
        if self.text_encoder.trainable:
            save_safetensors(folder / "text_encoder.safetensors", self.text_encoder.state_dict())
        self.architecture.save(folder / "architecture.yaml")
        write_yaml(folder / "space.yaml", portable_space(self.space))
        write_yaml(folder / "config.yaml", self.generation.model_dump())

    @classmethod
    def load(cls, folder: str | Path) -> VideoModel:
        """Read a model that `save` wrote.

        Raises:
            CheckpointError: The folder or a file in it is missing, damaged or does not fit the others.
            ConfigError: One of its YAML files is malformed.
        """
        root, file = Path(folder), unet_file(folder)
        space = SearchSpace.load(root / "space.yaml")
        architecture = space.load_architecture(root / "architecture.yaml")
        model = cls.build(space, architecture, load_yaml(root / "config.yaml", Generation))
        load_into(model.unet, load_safetensors(file), where=file)
        if model.text_encoder.trainable:
            file = root / "text_encoder.safetensors"
            load_into(model.text_encoder, load_safetensors(file), where=file)
        model.unet.eval()
        model.text_encoder.eval()
        return model

    def copy(self) -> VideoModel:
        """The same model with weights of its own."""
        return replace(self, unet=copy.deepcopy(self.unet), text_encoder=copy.deepcopy(self.text_encoder))

    def compress(self, kind: str) -> Self:
        """Replace all weights by those that files of a kind hold, see `nas.compression`. Arithmetic stays in fp32.

        Raises:
            CheckpointError: A weight is not finite, or too large for fp16.
            ConfigError: There is no such kind.
        """
        for module in (self.unet, self.text_encoder):
            compress_module(module, kind)
        self.codec = compressed_codec(self.space, kind)
        return self

    def to(self, device: torch.device | str) -> Self:
        """Move network and text encoder to a device, on which clips are made."""
        self.unet.to(device)
        self.text_encoder.to(device)
        return self

    def generate(
        self,
        prompts: Sequence[str],
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        first: int = 0,
        on_step: Callable[[], object] | None = None,
    ) -> torch.Tensor:
        """Make one clip per prompt.

        Args:
            prompts: Captions.
            seed: Clip `i` depends on this seed, `first + i` and its prompt, and on nothing else in the batch.
            steps: Denoising steps; the model's own if left out.
            guidance_scale: Classifier-free guidance; the model's own if left out.
            first: Number of the first clip, to continue a series in batches.
            on_step: Called after each denoising step.

        Returns:
            Pixels (B, T, 3, H, W) in [-1, 1], on the model's device.

        Raises:
            TrainingError: A clip is not finite: guidance is too strong, or training diverged.
        """
        noise_BTCHW = self.noise(len(prompts), seed, first)
        return self.generate_from(noise_BTCHW, prompts, steps=steps, guidance_scale=guidance_scale, on_step=on_step)

    def generate_from(
        self,
        noise_BTCHW: torch.Tensor,
        prompts: Sequence[str],
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        on_step: Callable[[], object] | None = None,
    ) -> torch.Tensor:
        """Make one clip per prompt from given noise, with the shape of latents; else as `generate`."""
        latent_BTCHW = self.denoise(prompts, noise_BTCHW, steps=steps, guidance_scale=guidance_scale, on_step=on_step)
        scale = self.generation.guidance_scale if guidance_scale is None else guidance_scale
        refuse_non_finite_clips(latent_BTCHW, prompts, scale)
        codec = self.codec or unloaded_codec(self.space)
        video_BTCHW = codec.to(latent_BTCHW.device).decode(latent_BTCHW)
        refuse_non_finite_clips(video_BTCHW, prompts, scale)
        return video_BTCHW

    def denoise(
        self,
        prompts: Sequence[str],
        noise_BTCHW: torch.Tensor,
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        on_step: Callable[[], object] | None = None,
    ) -> torch.Tensor:
        """Latents (B, T, C, H, W) of one clip per prompt, from noise of that shape; arguments as for `generate`."""
        latent_BTCHW = noise_BTCHW
        for after_BTCHW in self.denoising(prompts, noise_BTCHW, steps=steps, guidance_scale=guidance_scale):
            latent_BTCHW = after_BTCHW
            if on_step is not None:
                on_step()
        return latent_BTCHW

    @torch.no_grad()
    def denoising(
        self,
        prompts: Sequence[str],
        noise_BTCHW: torch.Tensor,
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Iterator[torch.Tensor]:
        """Latents (B, T, C, H, W) after each step, as they are computed; arguments as for `denoise`."""
        scale = self.generation.guidance_scale if guidance_scale is None else guidance_scale
        scheduler = flow_schedule(steps or self.generation.steps, self.generation.shift)
        context_BLD = self.text_encoder.encode(prompts)
        empty_BLD = self.text_encoder.encode([""] * len(prompts)) if scale != 1 else None
        sample_BTCHW = noise_BTCHW.to(context_BLD.device)
        for timestep in scheduler.timesteps:
            velocity = guided_velocity(self.unet, sample_BTCHW, timestep, context_BLD, empty_BLD, scale)
            # diffusers' annotations ask for legacy tensor types
            sample_BTCHW = scheduler.step(velocity, timestep, sample_BTCHW, return_dict=False)[0]  # type: ignore[arg-type]
            yield sample_BTCHW

    def noise(self, clips: int, seed: int, first: int = 0) -> torch.Tensor:
        """Starting noise (B, T, C, H, W); clip `i` depends on `seed` and `first + i` only."""
        return starting_noise(self.space.latent_shape, seed, range(first, first + clips))


def refuse_non_finite_clips(clips: torch.Tensor, prompts: Sequence[str], guidance_scale: float) -> None:
    """Refuse clips (B, ...) with NaN or infinity, which would be black or white pixels.

    Raises:
        TrainingError: A clip has one; the message names its prompt and the likely cause.
    """
    broken = [index for index, clip in enumerate(clips) if not torch.isfinite(clip).all()]
    if broken:
        lower = f"lower the guidance scale, which is {guidance_scale:g}"
        raise TrainingError(
            f"the clip of {prompts[broken[0]]!r} is not finite (NaN or infinity)",
            hint=lower if guidance_scale > STRONG_GUIDANCE else "its model's training diverged",
        )


def guided_velocity(
    unet: torch.nn.Module,
    sample_BTCHW: torch.Tensor,
    timestep: torch.Tensor,
    context_BLD: torch.Tensor,
    empty_BLD: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Velocity with classifier-free guidance: `empty + scale * (context - empty)`; without guidance if `empty` is None.

    Args:
        unet: The denoising network.
        sample_BTCHW: Noisy latents.
        timestep: One timestep for all clips, or (B,).
        context_BLD: Encoded captions.
        empty_BLD: The encoded empty caption, per clip.
        scale: Guidance scale.
    """
    timestep_B = timestep.to(sample_BTCHW).expand(sample_BTCHW.shape[0])
    if empty_BLD is None:
        return unet(sample_BTCHW, timestep_B, context_BLD)  # type: ignore[no-any-return]
    both = unet(torch.cat([sample_BTCHW] * 2), torch.cat([timestep_B] * 2), torch.cat([context_BLD, empty_BLD]))
    with_text, without = both.chunk(2)
    return without + scale * (with_text - without)  # type: ignore[no-any-return]


def portable_space(space: SearchSpace) -> dict[str, object]:
    """A space's file with absolute paths and without the pretrained backbone, whose weights are in the model."""
    value = space.to_dict()
    value["backbone"].pop("pretrained", None)
    for part, folder in (("codec", space.codec_folder), ("text", space.text_folder)):
        if folder is not None:
            value[part]["path"] = folder
    return value


def batches(count: int, size: int) -> Iterator[range]:
    """Ranges that cover `count` items in batches of at most `size`."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
