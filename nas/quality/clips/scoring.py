"""A model scored by several metrics of clips, beside real clips of the same prompts; and generating the clips.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nas.data import ClipShape, parse_caption
from nas.data.clips.pixels import to_bytes
from nas.data.moving_shapes.dataset import render
from nas.files import derive_seed
from nas.models import VideoModel
from nas.models.video_model import batches
from nas.progress import progress_bar
from nas.quality.clips.metric import ClipMetric, Estimate, estimate

BATCH = 16


@dataclass(frozen=True)
class Score:
    """The score of a model by one metric.

    Args:
        metric: The metric.
        generated: The value of the model's clips.
        real: The value of other real clips of the same prompts, which a perfect model would have.
    """

    metric: ClipMetric
    generated: Estimate
    real: Estimate


def score_clips(
    model: VideoModel,
    metrics: Sequence[ClipMetric],
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
) -> tuple[Score, ...]:
    """Generate a clip for each moving-shapes prompt, and score the clips.

    Args:
        model: The model.
        metrics: The metrics.
        prompts: Sentences of the moving-shapes grammar.
        seed: Seed of noise, real clips and bootstrap; with an equal one, models are compared on the same clips.
        steps: Denoising steps; the model's own when left out.
        guidance_scale: Classifier-free guidance; the model's own when left out.

    Raises:
        DataError: A prompt is not a moving-shapes sentence.
    """
    shape = ClipShape.of(model.space.file.video)
    real, other = (real_clips(prompts, shape, derive_seed(seed, name)) for name in ("real", "other"))
    made = generated_clips(model, prompts, seed=seed, steps=steps, guidance_scale=guidance_scale)

    def value(metric: ClipMetric, video_BTCHW: torch.Tensor) -> Estimate:
        return estimate(metric, video_BTCHW, real, prompts, seed=seed)

    return tuple(Score(metric, value(metric, made), value(metric, other)) for metric in metrics)


def real_clips(prompts: Sequence[str], shape: ClipShape, seed: int) -> torch.Tensor:
    """A clip (B, T, C, H, W), uint8, drawn for each moving-shapes sentence."""
    scenes = [parse_caption(prompt) for prompt in prompts]
    return torch.stack([render(scene, shape, np.random.default_rng([seed, i])) for i, scene in enumerate(scenes)])


def generated_clips(
    model: VideoModel,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = BATCH,
) -> torch.Tensor:
    """A model's clip (B, T, C, H, W), uint8, for each prompt; else as `generated_batches`."""
    made = generated_batches(
        model, prompts, seed=seed, steps=steps, guidance_scale=guidance_scale, batch_size=batch_size
    )
    return torch.cat(list(made))


def generated_batches(
    model: VideoModel,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
    batch_size: int = BATCH,
) -> Iterator[torch.Tensor]:
    """A model's clip for each prompt, in batches (B, T, C, H, W), uint8.

    Args:
        model: The model.
        prompts: The prompts.
        seed: Seed of the noise. The clip of a prompt also depends on its place in the list.
        steps: Denoising steps; the model's own when left out.
        guidance_scale: Classifier-free guidance; the model's own when left out.
        batch_size: Clips that are made together; affects only time and memory.

    Raises:
        TrainingError: A clip is not finite.
    """
    model.text_encoder.warn_of_losses(prompts)
    with progress_bar("generating", len(prompts)) as advance:
        for numbers in batches(len(prompts), batch_size):
            asked = [prompts[number] for number in numbers]
            made = model.generate(asked, seed=seed, steps=steps, guidance_scale=guidance_scale, first=numbers.start)
            yield to_bytes(made).cpu()
            advance.reach(numbers.stop, "")
