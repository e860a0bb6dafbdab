"""The three networks of a model, with the inputs they are converted and compared on.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nas.export.report import Part
from nas.models import VideoModel
from nas.models.parts import make_decoder
from nas.models.video_model import flow_schedule
from nas.runtimes import Array, to_arrays

_CAPTIONS = ("a dog runs along a beach", "")


@dataclass(frozen=True)
class ModelPart:
    """A network of a model.

    Args:
        name: Its name.
        module: Its module, with the model's weights.
        input_names: Names of its arguments.
        inputs: Argument tuples of batch 1 to compare on; conversion uses the first as its example.
    """

    name: Part
    module: nn.Module
    input_names: tuple[str, ...]
    inputs: tuple[tuple[torch.Tensor, ...], ...]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def reference(self, inputs: Sequence[torch.Tensor]) -> Array:
        """Torch's output, in evaluation mode."""
        training = self.module.training
        self.module.eval()
        try:
            with torch.no_grad():
                return to_arrays([self.module(*inputs)])[0]
        finally:
            self.module.train(training)


def model_parts(model: VideoModel) -> tuple[ModelPart, ...]:
    """The text encoder, the denoising network and the decoder.

    Inputs are like those in use: tokens of a caption and of the empty caption, noise at the timesteps of a four-step
    schedule with the contexts of these captions, latents of unit variance.
    """
    pipeline = model.space.lower_pipeline(model.architecture)
    tokens = [model.text_encoder.tokenize([caption]) for caption in _CAPTIONS]
    with torch.no_grad():
        contexts_BLD = [model.text_encoder(tokens_BL) for tokens_BL in tokens]
    sample_BTCHW = model.noise(1, seed=0)
    timesteps = flow_schedule(4, model.generation.shift).timesteps
    steps = [
        (sample_BTCHW, timestep.reshape(1).to(sample_BTCHW), contexts_BLD[index % len(contexts_BLD)])
        for index, timestep in enumerate(timesteps)
    ]
    networks: list[tuple[Part, nn.Module, list[tuple[torch.Tensor, ...]]]] = [
        ("text_encoder", model.text_encoder, [(tokens_BL,) for tokens_BL in tokens]),
        ("unet", model.unet, list(steps)),
        ("decoder", make_decoder(model.space), [(model.noise(1, seed=0, first=number),) for number in (1, 2)]),
    ]
    plans = {"text_encoder": pipeline.text_encoder, "unet": pipeline.unet, "decoder": pipeline.decoder}
    return tuple(
        ModelPart(name, module, tuple(spec.name for spec in plans[name].inputs), tuple(inputs))
        for name, module, inputs in networks
    )
