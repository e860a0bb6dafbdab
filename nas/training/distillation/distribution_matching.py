"""Distribution matching: the student's clips are to be as likely as the guided teacher's.

DMD2 (Yin et al. 2024, "Improved Distribution Matching Distillation for Fast Image Synthesis", arXiv 2405.14867), in the
velocity form of flow matching.

Shape suffixes as in `nas.training.distillation.student_step`.
"""

from __future__ import annotations

import copy
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from nas.files import StrictModel
from nas.models.flow import NoisyBatch, flow_loss, mix
from nas.training.distillation.student_step import GuidedTeacher, StudentStep, per_clip
from nas.training.distillation.target import LearningTarget
from nas.training.engine.settings import Rate
from nas.training.engine.task import Losses, OptimizerPhase

FAKE_SCORE = "fake_score"

_LEAST_ERROR = 1e-6
"""The gradient is divided by the teacher's error, which is not taken to be smaller."""


class DistributionMatchingTarget(LearningTarget):
    """Moves the distribution of the student's clips towards that of the guided teacher's.

    Noise is added to a clip that the student has made from noise. Two networks then denoise it: the guided teacher, and
    a network that learns the distribution of the student's clips, the fake score. The clip is to move from the latter's
    prediction to the former's. The fake score starts as a copy of the teacher, and learns several times per step of the
    student (two time scales). It takes a discriminator to add the GAN term of DMD2.
    """

    class Config(StrictModel):
        """Options of the target.

        Args:
            fake_updates: Updates of the fake score per update of the student.
            fake_learning_rate: Peak learning rate of the fake score; that of the student when left out.
        """

        fake_updates: Annotated[int, Field(ge=1, le=1000)] = 5
        fake_learning_rate: Rate | None = None

    default_guidance = 1.5
    own_samples = True
    config: Config

    def __init__(self, config: StrictModel, teacher: GuidedTeacher, student: nn.Module) -> None:
        super().__init__(config, teacher, student)
        self.network = copy.deepcopy(teacher.unet).requires_grad_(True)

    def phase(self) -> OptimizerPhase:
        """The phase of the fake score."""
        rate, updates = self.config.fake_learning_rate, self.config.fake_updates
        return OptimizerPhase(FAKE_SCORE, tuple(self.network.parameters()), rate, updates=updates)

    def loss(self, step: StudentStep) -> torch.Tensor:
        """Half the mean square of `direction`; its gradient by the clips is `direction`, a mean over all values."""
        clip_BTCHW = step.sample_at(self.level(step)).float()
        wanted_BTCHW = clip_BTCHW.detach() - self.direction(step)
        return F.mse_loss(clip_BTCHW, wanted_BTCHW) / 2

    @torch.no_grad()
    def direction(self, step: StudentStep) -> torch.Tensor:
        """The direction in which the student's clips are less likely for the teacher, compared with the student.

        This is the gradient of the Kullback-Leibler divergence, weighted as by Yin et al. (2024, arXiv 2311.18828,
        eq. 8): the fake score's predicted clip minus the teacher's, divided by the mean error of the latter. In terms
        of velocities, both are multiples of the noise level, which cancels.
        """
        noisy = self._renoised(step)
        real_BTCHW = self.teacher.velocity(noisy, step.context_BLD).float()
        fake_BTCHW: torch.Tensor = self.network(noisy.sample_BTCHW, noisy.timestep_B, step.context_BLD).float()
        error_B = (real_BTCHW - noisy.target_BTCHW).abs().mean(dim=(1, 2, 3, 4)).clamp(min=_LEAST_ERROR)
        return (real_BTCHW - fake_BTCHW) / per_clip(error_B)

    def network_losses(self, step: StudentStep) -> Losses:
        """Flow matching of the student's clips."""
        noisy = self._renoised(step)
        return {"loss": flow_loss(self.network(noisy.sample_BTCHW, noisy.timestep_B, step.context_BLD), noisy)}

    def level(self, step: StudentStep) -> torch.Tensor:
        """Level 0: the clip."""
        return torch.zeros_like(step.end_B)

    def _renoised(self, step: StudentStep) -> NoisyBatch:
        assert step.renoising is not None, "steps from own samples have it"
        clip_BTCHW = step.sample_at(self.level(step)).detach().float()
        return mix(clip_BTCHW, step.renoising.noise_BTCHW, step.renoising.level_B)
