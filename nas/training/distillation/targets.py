"""The distillation targets of this project: data, trajectory and consistency.

Shape suffixes as in `nas.training.distillation.student_step`.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from nas.files import StrictModel
from nas.models.flow import TIMESTEP_SCALE, flow_loss
from nas.training.distillation.student_step import GuidedTeacher, StudentStep, per_clip
from nas.training.distillation.target import DistillationTarget


class DataTarget(DistillationTarget):
    """Learns the real clips: flow matching at the noise levels of the student's steps."""

    uses_teacher = False

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Mean squared error of the predicted velocity."""
        return flow_loss(step.velocity_BTCHW, step.noisy)

    def level(self, step: StudentStep) -> torch.Tensor:
        """Level 0: the clip."""
        return torch.zeros_like(step.end_B)


class TrajectoryTarget(DistillationTarget):
    """Learns to take one step to the point that the guided teacher reaches in several.

    Progressive distillation (Salimans and Ho 2022, arXiv 2202.00512) to all steps at once, of a teacher with
    classifier-free guidance (Meng et al. 2023, arXiv 2210.03142), in the velocity form of flow matching.
    """

    class Config(StrictModel):
        """Options of the target.

        Args:
            own_samples: Whether steps start from the student's own samples, instead of from real clips with noise.
        """

        own_samples: bool = False

    config: Config

    def __init__(self, config: StrictModel, teacher: GuidedTeacher, student: nn.Module) -> None:
        super().__init__(config, teacher, student)
        self.own_samples = self.config.own_samples

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Mean squared error between the student's velocity and the mean velocity of the teacher's path."""
        moved_BTCHW = step.noisy.sample_BTCHW - self.teacher.sample_at_end(step)
        mean_BTCHW = moved_BTCHW / per_clip(step.start_B - step.end_B)
        return F.mse_loss(step.velocity_BTCHW.float(), mean_BTCHW.float())

    def level(self, step: StudentStep) -> torch.Tensor:
        """The noise level at the end of the step."""
        return step.end_B


class ConsistencyTarget(DistillationTarget):
    """Learns to predict the same clip at the start of a step as at the point where the guided teacher ends it.

    Consistency distillation (Song et al. 2023, arXiv 2303.01469) with the guidance baked in (Luo et al. 2023, arXiv
    2310.04378), at the student's own noise levels. Gradients do not follow the prediction at the end of the step.
    """

    class Config(StrictModel):
        """Options of the target.

        Args:
            huber_scale: Distance below which the pseudo-Huber loss is quadratic.
        """

        huber_scale: Annotated[float, Field(gt=0, le=1e3)] = 0.03

    config: Config

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Pseudo-Huber distance between the two predicted clips."""
        with torch.no_grad():
            end_BTCHW = self.teacher.sample_at_end(step)
            velocity_BTCHW = self.student(end_BTCHW, step.end_B * TIMESTEP_SCALE, step.context_BLD)
            # If the step ends at the clip, the level is 0 and the velocity has no weight.
            predicted_BTCHW = end_BTCHW - per_clip(step.end_B) * velocity_BTCHW
        return pseudo_huber(step.sample_at(self.level(step)), predicted_BTCHW, self.config.huber_scale)

    def level(self, step: StudentStep) -> torch.Tensor:
        """Level 0: the clip."""
        return torch.zeros_like(step.end_B)


def pseudo_huber(first_BTCHW: torch.Tensor, second_BTCHW: torch.Tensor, scale: float = 0.03) -> torch.Tensor:
    """Mean of `sqrt(d^2 + scale^2) - scale` over the clips, where `d` is the root mean square of their difference.

    Song and Dhariwal 2023 (arXiv 2310.14189, section 3.3), divided by the root of the number of values, so that it
    does not depend on the size of a clip.
    """
    square_B = (first_BTCHW.float() - second_BTCHW.float()).square().mean(dim=(1, 2, 3, 4))
    return ((square_B + scale**2).sqrt() - scale).mean()
