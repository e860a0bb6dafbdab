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
class StudentStep:
    """One denoising step of the student, for a batch of clips.

    Args:
        noisy: Real clips with noise, at the noise level at which the step starts.
        start_B: Noise level at the start of the step.
        end_B: Noise level at the end of the step, below that at its start.
        context_BLD: Encoded captions.
        velocity_BTCHW: The student's prediction at the start of the step.
    """

    noisy: NoisyBatch
    start_B: torch.Tensor
    end_B: torch.Tensor
    context_BLD: torch.Tensor
    velocity_BTCHW: torch.Tensor

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
        guided = self.guidance_scale != 1
        empty_BLD = self.empty_1LD().expand_as(step.context_BLD) if guided else None
        stride_B = (step.end_B - step.start_B) / self.substeps
        for index in range(self.substeps):
            timestep_B = (step.start_B + index * stride_B) * TIMESTEP_SCALE
            velocity = guided_velocity(
                self.unet, sample_BTCHW, timestep_B, step.context_BLD, empty_BLD, self.guidance_scale
            )
            sample_BTCHW = sample_BTCHW + per_clip(stride_B) * velocity
        return sample_BTCHW


def per_clip(value_B: torch.Tensor) -> torch.Tensor:
    """One value per clip (B,), in the shape (B, 1, 1, 1, 1) that multiplies clips."""
    return value_B.reshape(-1, 1, 1, 1, 1)
