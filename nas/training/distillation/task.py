"""Distillation as a training task.

Shape suffixes as in `nas.training.distillation.student_step`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from nas.models import VideoModel
from nas.models.flow import mix
from nas.models.video_model import flow_schedule
from nas.training.distillation.config import DistillationConfig
from nas.training.distillation.student_step import GuidedTeacher, StudentStep
from nas.training.distillation.target import DistillationTarget
from nas.training.engine.task import Losses
from nas.training.flow.rng import BatchRNG
from nas.training.flow.tasks import JointTask


class DistillationTask(JointTask):
    """Trains a copy of a model to denoise in a few steps.

    Each clip of a batch is noised to the level at which one of the student's steps starts.

    Args:
        teacher: The model to learn from; frozen, as is the text encoder.
        config: Target, number of steps and guidance.
    """

    def __init__(self, teacher: VideoModel, config: DistillationConfig) -> None:
        super().__init__(copy.deepcopy(teacher.unet), teacher.text_encoder.requires_grad_(False))
        self.unet.requires_grad_(True)
        self.teacher = teacher.unet.requires_grad_(False)
        self.config = config
        levels = flow_schedule(config.steps, teacher.generation.shift).sigmas
        self.register_buffer("levels", levels.float(), persistent=False)
        self.levels: torch.Tensor
        self.target = self._target()

    def _target(self) -> DistillationTarget:
        config = self.config
        teacher = GuidedTeacher(self.teacher, lambda: self.text_encoder.encode([""]), config.guidance, config.substeps)
        kind = config.target_class
        return kind(kind.Config(**config.target_options), teacher, self.unet)

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the student."""
        return self.unet.parameters()

    def train(self, mode: bool = True) -> DistillationTask:
        """Set the student's mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def student_step(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG) -> StudentStep:
        """One step of the student from real clips, which starts at a random one of its noise levels per clip."""
        segment_B = rng.below(self.config.steps).to(latent_BTCHW.device)
        start_B, end_B = self.levels[segment_B], self.levels[segment_B + 1]
        noisy = mix(latent_BTCHW, rng.normal_like(latent_BTCHW), start_B)
        context_BLD = self.text_encoder(tokens_BL)
        velocity_BTCHW = self.unet(noisy.sample_BTCHW, noisy.timestep_B, context_BLD)
        return StudentStep(noisy, start_B, end_B, context_BLD, velocity_BTCHW)

    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """The loss of the target."""
        return {"loss": self.target.loss(self.student_step(latent_BTCHW, tokens_BL, rng))}
