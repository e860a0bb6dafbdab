"""The reference clip of a bundle: what torch makes of one prompt, step by step.

It is what converted networks are compared on, and it is written as the bundle's test vector.

Shape suffixes: B clips, S steps, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.numpy
import torch
from torch import nn

from nas.errors import CheckpointError, ConfigError
from nas.export.manifest import TestVector
from nas.models import VideoModel
from nas.models.parts import make_decoder
from nas.models.video_model import refuse_non_finite_clips
from nas.models.weights import save_safetensors
from nas.runtimes import Array
from nas.runtimes.signature import TensorType

FILE = "test_vector.safetensors"

PROMPT, SEED = "a dog runs along a beach", 0


@dataclass(frozen=True)
class ReferenceClip:
    """A clip with all that was computed on the way.

    Args:
        prompt: Its caption.
        seed: Seed of its noise, as of `VideoModel.generate`.
        tokens_BL: Numbers of the caption.
        empty_tokens_BL: Those of the empty caption, which guidance needs.
        context_BLD: The text encoder's output for the caption.
        empty_context_BLD: Its output for the empty caption.
        noise_BTCHW: The first latent.
        latents_STCHW: The latents after each step.
        frames_BTCHW: Pixels in [-1, 1].
        decoder: The decoder that made them.
    """

    prompt: str
    seed: int
    tokens_BL: torch.Tensor
    empty_tokens_BL: torch.Tensor
    context_BLD: torch.Tensor
    empty_context_BLD: torch.Tensor
    noise_BTCHW: torch.Tensor
    latents_STCHW: torch.Tensor
    frames_BTCHW: torch.Tensor
    decoder: nn.Module

    @classmethod
    @torch.no_grad()
    def make(cls, model: VideoModel, prompt: str | None = None, seed: int = SEED) -> ReferenceClip:
        """Generate the clip with a model's own settings, on the processor.

        Args:
            model: The model.
            prompt: Its caption; one of a few words when left out, or the empty one where that is too long.
            seed: Seed of its noise.

        Raises:
            ConfigError: The text encoder does not read all of the prompt.
            TrainingError: The clip is not finite.
        """
        encoder = model.text_encoder
        if prompt is None:
            prompt = PROMPT if encoder.reads_all(PROMPT) else ""
        if not encoder.reads_all(prompt):
            count, most = encoder.length(prompt)
            what = f"the prompt has {count} words or tokens, the text encoder reads {most}"
            raise ConfigError(what, where="prompt", hint="make it shorter")
        tokens_BL, empty_BL = (encoder.tokenize([caption]) for caption in (prompt, ""))
        noise_BTCHW, decoder = model.noise(1, seed), make_decoder(model.space)
        latents_STCHW = torch.cat(list(model.denoising([prompt], noise_BTCHW)))
        refuse_non_finite_clips(latents_STCHW[-1:], [prompt], model.generation.guidance_scale)
        return cls(
            prompt, seed, tokens_BL, empty_BL, encoder(tokens_BL), encoder(empty_BL),
            noise_BTCHW, latents_STCHW, decoder(latents_STCHW[-1:]), decoder,
        )  # fmt: skip

    def before(self, step: int) -> torch.Tensor:
        """The latent (B, T, C, H, W) that a step reads; step 0 reads the noise."""
        return self.noise_BTCHW if step == 0 else self.latents_STCHW[step - 1 : step]

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of the test vector, by name."""
        return {
            "tokens": self.tokens_BL,
            "empty_tokens": self.empty_tokens_BL,
            "context": self.context_BLD,
            "empty_context": self.empty_context_BLD,
            "noise": self.noise_BTCHW,
            "latents": self.latents_STCHW,
            "frames": self.frames_BTCHW,
        }

    def write(self, root: Path) -> TestVector:
        """Write the test vector into a bundle, and return its entry in the manifest."""
        save_safetensors(root / FILE, self.tensors)
        types = tuple(
            TensorType(
                name=name, shape=tuple(tensor.shape), dtype="int64" if tensor.dtype == torch.int64 else "float32"
            )
            for name, tensor in self.tensors.items()
        )
        return TestVector(path=FILE, prompt=self.prompt, seed=self.seed, tensors=types)


def read_test_vector(file: Path) -> Mapping[str, Array]:
    """The tensors of a test vector.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        return safetensors.numpy.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"not a valid safetensors file: {error}", where=file) from error
