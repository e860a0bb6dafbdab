"""What a few-step student learns at the noise levels of its steps.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from nas.models.flow import TIMESTEP_SCALE, NoisyBatch, flow_loss
from nas.models.video_model import guided_velocity


@dataclass(frozen=True)
class StudentStep:
    """One step of the student, for a batch of clips.

    Args:
        noisy: Where it begins, made from real clips.
        start_B: Noise level at which it begins.
        end_B: Noise level at which it ends, when the student is sampled.
        context_BLD: Encoded captions.
        velocity_BTCHW: What the student predicts.
    """

    noisy: NoisyBatch
    start_B: torch.Tensor
    end_B: torch.Tensor
    context_BLD: torch.Tensor
    velocity_BTCHW: torch.Tensor

    def sample_at(self, level_B: torch.Tensor) -> torch.Tensor:
        """Where the prediction leads, in a straight line, at a noise level; level 0 is the clip it foretells."""
        return self.noisy.sample_BTCHW + _wide(level_B - self.start_B) * self.velocity_BTCHW


class Target(ABC):
    """What is learnt from a step."""

    @abstractmethod
    def loss(self, step: StudentStep) -> torch.Tensor:
        """How far the student is from the target; a scalar."""

    @abstractmethod
    def level(self, step: StudentStep) -> torch.Tensor:
        """Noise level (B,) of what the student is to arrive at: there, and only there, it can look real."""


class DataTarget(Target):
    """The clips themselves: flow matching on the noise levels of the student's steps alone."""

    def loss(self, step: StudentStep) -> torch.Tensor:
        """See `Target.loss`."""
        return flow_loss(step.velocity_BTCHW, step.noisy)

    def level(self, step: StudentStep) -> torch.Tensor:
        """See `Target.level`: the clip."""
        return torch.zeros_like(step.end_B)


@dataclass(frozen=True)
class GuidedTeacher:
    """A teacher that goes a part of its way in several guided Euler steps.

    Args:
        unet: Its network.
        empty_1LD: The encoded empty caption; called for at each step, because the device may have changed.
        guidance_scale: Weight of classifier-free guidance; 1 is none.
        substeps: Euler steps.
    """

    unet: nn.Module
    empty_1LD: Callable[[], torch.Tensor]
    guidance_scale: float
    substeps: int

    @torch.no_grad()
    def arrives(self, step: StudentStep) -> torch.Tensor:
        """Where it arrives at the end of a step from where that begins."""
        sample_BTCHW = step.noisy.sample_BTCHW
        guided = self.guidance_scale != 1
        empty_BLD = self.empty_1LD().expand_as(step.context_BLD) if guided else None
        stride_B = (step.end_B - step.start_B) / self.substeps
        for index in range(self.substeps):
            timestep_B = (step.start_B + index * stride_B) * TIMESTEP_SCALE
            velocity = guided_velocity(
                self.unet, sample_BTCHW, timestep_B, step.context_BLD, empty_BLD, self.guidance_scale
            )
            sample_BTCHW = sample_BTCHW + _wide(stride_B) * velocity
        return sample_BTCHW


@dataclass(frozen=True)
class TrajectoryTarget(Target):
    """To arrive in one step where the guided teacher arrives in several.

    Progressive distillation (Salimans and Ho 2022, arXiv 2202.00512) to all steps at once, of a teacher with
    classifier-free guidance (Meng et al. 2023, arXiv 2210.03142), in the velocity form of flow matching.

    Args:
        teacher: The teacher.
    """

    teacher: GuidedTeacher

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Mean squared error between the student's velocity and the mean velocity of the teacher's path."""
        moved_BTCHW = step.noisy.sample_BTCHW - self.teacher.arrives(step)
        mean_BTCHW = moved_BTCHW / _wide(step.start_B - step.end_B)
        return F.mse_loss(step.velocity_BTCHW.float(), mean_BTCHW.float())

    def level(self, step: StudentStep) -> torch.Tensor:
        """See `Target.level`: the end of the step."""
        return step.end_B


@dataclass(frozen=True)
class ConsistencyTarget(Target):
    """To foretell, from the beginning of a step, the clip foretold from where the guided teacher arrives at its end.

    Consistency distillation (Song et al. 2023, arXiv 2303.01469) with the guidance baked in (Luo et al. 2023, arXiv
    2310.04378), on the student's own noise levels. What is foretold from there is not followed by gradients.

    Args:
        teacher: The teacher.
        student: The student's network.
    """

    teacher: GuidedTeacher
    student: nn.Module

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Pseudo-Huber distance of the two foretold clips."""
        with torch.no_grad():
            arrived_BTCHW = self.teacher.arrives(step)
            velocity_BTCHW = self.student(arrived_BTCHW, step.end_B * TIMESTEP_SCALE, step.context_BLD)
            # Where the step ends at the clip, the level is 0 and the velocity has no weight.
            foretold_BTCHW = arrived_BTCHW - _wide(step.end_B) * velocity_BTCHW
        return pseudo_huber(step.sample_at(self.level(step)), foretold_BTCHW)

    def level(self, step: StudentStep) -> torch.Tensor:
        """See `Target.level`: the clip."""
        return torch.zeros_like(step.end_B)


def pseudo_huber(one_BTCHW: torch.Tensor, other_BTCHW: torch.Tensor, scale: float = 0.03) -> torch.Tensor:
    """Mean of `sqrt(d^2 + scale^2) - scale` over the clips, `d` being the root mean square of their difference.

    Song and Dhariwal 2023 (arXiv 2310.14189, section 3.3), divided by the root of the number of values, so that it
    does not depend on the size of a clip.
    """
    square_B = (one_BTCHW.float() - other_BTCHW.float()).square().mean(dim=(1, 2, 3, 4))
    return ((square_B + scale**2).sqrt() - scale).mean()


def _wide(value_B: torch.Tensor) -> torch.Tensor:
    return value_B.reshape(-1, 1, 1, 1, 1)
