"""One denoising step of the student, and the guided teacher's path through the same step.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from nas.models.flow import TIMESTEP_SCALE, NoisyBatch
from nas.models.video_model import guided_velocity


@dataclass(frozen=True)
class Renoising:
    """Noise for the clips that the student predicts, drawn for targets that compare them at some noise level.

    Args:
        level_B: The noise level, above 0 and below 1.
        noise_BTCHW: The noise.
    """

    level_B: torch.Tensor
    noise_BTCHW: torch.Tensor


@dataclass(frozen=True)
class StudentStep:
    """One denoising step of the student, for a batch of clips.

    Args:
        noisy: What the step starts from: real clips with noise, or the student's own samples. The velocity of the
            latter is unknown, and not a number.
        start_B: Noise level at the start of the step.
        end_B: Noise level at the end of the step, below that at its start.
        context_BLD: Encoded captions.
        velocity_BTCHW: The student's prediction at the start of the step.
        renoising: Noise for the predicted clips, in steps that start from the student's own samples.
    """

    noisy: NoisyBatch
    start_B: torch.Tensor
    end_B: torch.Tensor
    context_BLD: torch.Tensor
    velocity_BTCHW: torch.Tensor
    renoising: Renoising | None = None

    def sample_at(self, level_B: torch.Tensor) -> torch.Tensor:
        """The student's sample at a noise level: its prediction followed in a straight line. Level 0 is the clip."""
        return self.noisy.sample_BTCHW + per_clip(level_B - self.start_B) * self.velocity_BTCHW


@dataclass(frozen=True)
class GuidedTeacher:
    """The frozen teacher, which covers a step of the student in several Euler steps with classifier-free guidance.

    Args:
        unet: The teacher's network.
        empty_1LD: Returns the encoded empty caption. It is called for every batch, because the device may change.
        guidance_scale: Weight of classifier-free guidance; 1 is none.
        substeps: Euler steps of the teacher per step of the student.
    """

    unet: nn.Module
    empty_1LD: Callable[[], torch.Tensor]
    guidance_scale: float
    substeps: int

    @torch.no_grad()
    def sample_at_end(self, step: StudentStep) -> torch.Tensor:
        """The teacher's sample at the end of a step, from the same start as the student."""
        sample_BTCHW = step.noisy.sample_BTCHW
        empty_BLD = self._empty(step.context_BLD)
        stride_B = (step.end_B - step.start_B) / self.substeps
        for index in range(self.substeps):
            timestep_B = (step.start_B + index * stride_B) * TIMESTEP_SCALE
            velocity = guided_velocity(
                self.unet, sample_BTCHW, timestep_B, step.context_BLD, empty_BLD, self.guidance_scale
            )
            sample_BTCHW = sample_BTCHW + per_clip(stride_B) * velocity
        return sample_BTCHW

    @torch.no_grad()
    def velocity(self, noisy: NoisyBatch, context_BLD: torch.Tensor) -> torch.Tensor:
        """The guided velocity of noisy clips."""
        inputs = (noisy.sample_BTCHW, noisy.timestep_B, context_BLD)
        return guided_velocity(self.unet, *inputs, self._empty(context_BLD), self.guidance_scale)

    def _empty(self, context_BLD: torch.Tensor) -> torch.Tensor | None:
        """The encoded empty caption for each clip; `None` without guidance."""
        return self.empty_1LD().expand_as(context_BLD) if self.guidance_scale != 1 else None


@torch.no_grad()
def own_samples(
    student: nn.Module,
    noise_BTCHW: torch.Tensor,
    levels: torch.Tensor,
    segment_B: torch.Tensor,
    context_BLD: torch.Tensor,
) -> torch.Tensor:
    """The samples from which some of the student's steps start when it makes clips from noise.

    Backward simulation (Yin et al. 2024, arXiv 2405.14867, section 4.5) with the steps that samplers take. All clips
    take all steps but the last, because all processes must call a sharded network equally often.

    Args:
        student: The student's network.
        noise_BTCHW: Noise that the clips begin with.
        levels: All noise levels of the student, from 1 to 0.
        segment_B: Number of the step of each clip.
        context_BLD: Encoded captions.
    """
    sample_BTCHW = noise_BTCHW
    for index in range(len(levels) - 2):
        timestep_B = (levels[index] * TIMESTEP_SCALE).expand(len(segment_B))
        velocity_BTCHW = student(sample_BTCHW, timestep_B, context_BLD)
        moved_BTCHW = sample_BTCHW + (levels[index + 1] - levels[index]) * velocity_BTCHW
        sample_BTCHW = torch.where(per_clip(segment_B > index), moved_BTCHW, sample_BTCHW)
    return sample_BTCHW


def per_clip(value_B: torch.Tensor) -> torch.Tensor:
    """One value per clip (B,), in the shape (B, 1, 1, 1, 1) that multiplies clips."""
    return value_B.reshape(-1, 1, 1, 1, 1)
