"""Ways to sample, side by side: the same prompts and noise, a strip of frames and the time for each clip.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure

from nas.data.clips.pixels import to_bytes
from nas.errors import ConfigError
from nas.formatting import counted
from nas.models import VideoModel
from nas.progress import progress_bar
from nas.report.strips import Column, draw_strips
from nas.report.style import save_figure


@dataclass(frozen=True)
class Sampling:
    """A model, and how it is sampled.

    Args:
        label: What a reader calls it.
        model: The model.
        steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1 is none.
    """

    label: str
    model: VideoModel
    steps: int
    guidance_scale: float

    @property
    def calls(self) -> int:
        """Calls of the denoising network for a clip; guidance takes two a step, made together as a batch of two."""
        return self.steps * (1 if self.guidance_scale == 1 else 2)


@dataclass(frozen=True)
class Sampled:
    """What a sampling made.

    Args:
        sampling: How.
        clips_TCHW: One clip per prompt, uint8.
        seconds_per_clip: Wall time of a clip alone, from the prompt to pixels: text encoder, calls and decoder.
    """

    sampling: Sampling
    clips_TCHW: tuple[torch.Tensor, ...]
    seconds_per_clip: float


def student_and_teacher(student: VideoModel, teacher: VideoModel) -> tuple[Sampling, Sampling, Sampling]:
    """What a distillation is judged by: the teacher as it is meant, the teacher in as few calls, and the student.

    Raises:
        ConfigError: The models make clips of different shapes, so equal noise would not be the same start.
    """
    if student.space.latent_shape != teacher.space.latent_shape:
        shapes = [" x ".join(map(str, model.space.latent_shape)) for model in (teacher, student)]
        raise ConfigError(f"the teacher's latent clips are {shapes[0]}, the student's {shapes[1]}",
                          hint="compare a student with the model it was distilled from")  # fmt: skip
    meant, short = teacher.generation, student.generation
    return (
        Sampling("teacher", teacher, meant.steps, meant.guidance_scale),
        Sampling(f"teacher, {counted(short.steps, 'step')}, no guidance", teacher, short.steps, 1.0),
        Sampling("student", student, short.steps, short.guidance_scale),
    )


def with_weights(sampling: Sampling, model: VideoModel, kind: str) -> Sampling:
    """The same sampling with compressed weights.

    Args:
        sampling: How to sample.
        model: A copy of its model, which is compressed.
        kind: The kind of weights, see `nas.compression`.

    Raises:
        CheckpointError: As `VideoModel.compress`.
    """
    return replace(sampling, label=f"{sampling.label}, {kind} weights", model=model.compress(kind))


def sample_all(samplings: Sequence[Sampling], prompts: Sequence[str], *, seed: int = 0) -> tuple[Sampled, ...]:
    """Make every prompt's clip in every way, one at a time, prompt `i` from the same noise in all."""
    samplings[0].model.text_encoder.warn_of_losses(prompts)
    with progress_bar("generating", sum(sampling.steps for sampling in samplings) * len(prompts)) as advance:
        return tuple(_sample(sampling, prompts, seed, lambda: advance("")) for sampling in samplings)


def _sample(sampling: Sampling, prompts: Sequence[str], seed: int, on_step: Callable[[], object]) -> Sampled:
    make = partial(
        sampling.model.generate,
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        seed=seed,
        on_step=on_step,
    )
    began = time.perf_counter()
    # A clip has been made when it has arrived: a graphics card is still at work on it when `generate` returns.
    clips = [to_bytes(make([prompt], first=number)).cpu() for number, prompt in enumerate(prompts)]
    seconds = (time.perf_counter() - began) / len(prompts)
    return Sampled(sampling, tuple(clip[0] for clip in clips), seconds)


def plot_contact_sheet(sampled: Sequence[Sampled], prompts: Sequence[str], path: str | Path) -> Path:
    """Draw a row for each prompt and a column for each way to sample; raises as `save_figure`."""
    return save_figure(draw_contact_sheet(sampled, prompts), path)


def draw_contact_sheet(sampled: Sequence[Sampled], prompts: Sequence[str]) -> Figure:
    """The figure of `plot_contact_sheet`."""
    return draw_strips([sheet_column(result) for result in sampled], prompts)


def sheet_column(sampled: Sampled) -> Column:
    """The clips of one way to sample, headed by what they cost."""
    calls = f"{counted(sampled.sampling.calls, 'call')}, {sampled.seconds_per_clip:.3g} s per clip"
    return Column(f"{sampled.sampling.label}\n{calls}", sampled.clips_TCHW)
