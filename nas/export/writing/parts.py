"""The three networks of a model, with the inputs they are converted and compared on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nas.export.manifest import Part
from nas.export.reference import ReferenceClip
from nas.export.sampler import Sampler
from nas.models import VideoModel
from nas.space import Plan

_CALLS = 4
"""Calls of the denoising network to compare at most: a model of 25 guided steps makes 50 for a clip."""


@dataclass(frozen=True)
class ModelPart:
    """A network of a model.

    Args:
        name: Its name.
        module: Its module, with the model's weights.
        plan: Its plan.
        inputs: Argument tuples of batch 1 to compare on; conversion uses the first as its example.
    """

    name: Part
    module: nn.Module
    plan: Plan
    inputs: tuple[tuple[torch.Tensor, ...], ...]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.module.parameters())


def model_parts(model: VideoModel, clip: ReferenceClip) -> tuple[ModelPart, ...]:
    """The text encoder, the denoising network and the decoder.

    Their inputs are those of the reference clip: the tokens of its caption and of the empty one, latents at timesteps
    from the first to the last with the contexts of both captions in turn, and the last latent and the noise to decode.
    """
    pipeline = model.space.lower_pipeline(model.architecture)
    steps = Sampler.of(model.generation).steps
    chosen = np.linspace(0, len(steps) - 1, min(_CALLS, len(steps))).round().astype(int).tolist()
    contexts = (clip.context_BLD, clip.empty_context_BLD)
    calls = [
        (clip.before(step), torch.tensor([steps[step].timestep]), contexts[number % 2])
        for number, step in enumerate(chosen)
    ]
    captions, latents = [clip.tokens_BL, clip.empty_tokens_BL], [clip.latents_STCHW[-1:], clip.noise_BTCHW]
    return (
        ModelPart("text_encoder", model.text_encoder, pipeline.text_encoder, _each(captions)),
        ModelPart("unet", model.unet, pipeline.unet, tuple(calls)),
        ModelPart("decoder", clip.decoder, pipeline.decoder, _each(latents)),
    )


def _each(tensors: Sequence[torch.Tensor]) -> tuple[tuple[torch.Tensor, ...], ...]:
    """Each tensor alone as the arguments of a call."""
    return tuple((tensor,) for tensor in tensors)
