"""Distillation as a training task.

Shape suffixes as in `nas.training.distillation.student_step`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from nas.models import VideoModel
from nas.models.flow import TIMESTEP_SCALE, NoisyBatch, mix, shifted
from nas.models.video_model import flow_schedule
from nas.training.distillation.config import DistillationConfig
from nas.training.distillation.student_step import GuidedTeacher, Renoising, StudentStep, own_samples
from nas.training.distillation.target import DistillationTarget, LearningTarget
from nas.training.engine.task import MODEL, Losses, OptimizerPhase
from nas.training.flow.rng import BatchRNG
from nas.training.flow.tasks import JointTask

LOWEST_LEVEL, HIGHEST_LEVEL = 0.02, 0.98
"""Noise levels, before the shift, at which predicted clips are compared: those of Yin et al. 2024."""


class DistillationTask(JointTask):
    """Trains a copy of a model to denoise in a few steps.

    Each clip of a batch is noised to the level at which one of the student's steps starts. Targets with `own_samples`
    take what the student itself makes of noise up to that level instead.

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
        self.shift = teacher.generation.shift
        self.target = self._target()
        if isinstance(self.target, LearningTarget):
            self.target_network = self.target.network  # a part of the task, and so of its checkpoints

    def _target(self) -> DistillationTarget:
        config = self.config
        teacher = GuidedTeacher(self.teacher, lambda: self.text_encoder.encode([""]), config.guidance, config.substeps)
        kind = config.target_class
        return kind(kind.Config(**config.target_options), teacher, self.unet)

    def uses_all_parameters(self) -> bool:
        """Whether the student alone learns; a phase does not use what others train."""
        return len(self.phases()) == 1

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the student."""
        return self.unet.parameters()

    def phases(self) -> tuple[OptimizerPhase, ...]:
        """The phase of a target that learns, and then the student's."""
        first = (self.target.phase(),) if isinstance(self.target, LearningTarget) else ()
        return (*first, *super().phases())

    def train(self, mode: bool = True) -> DistillationTask:
        """Set the student's mode; the teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def student_step(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG) -> StudentStep:
        """One step of the student, which starts at a random one of its noise levels per clip."""
        segment_B = rng.below(self.config.steps).to(latent_BTCHW.device)
        start_B, end_B = self.levels[segment_B], self.levels[segment_B + 1]
        noise_BTCHW, context_BLD = rng.normal_like(latent_BTCHW), self.text_encoder(tokens_BL)
        if self.target.own_samples:
            noisy = self._made(noise_BTCHW, segment_B, context_BLD)
            renoising = self._renoising(latent_BTCHW, rng)
        else:
            noisy, renoising = mix(latent_BTCHW, noise_BTCHW, start_B), None
        velocity_BTCHW = self.unet(noisy.sample_BTCHW, noisy.timestep_B, context_BLD)
        return StudentStep(noisy, start_B, end_B, context_BLD, velocity_BTCHW, renoising)

    def _made(self, noise_BTCHW: torch.Tensor, segment_B: torch.Tensor, context_BLD: torch.Tensor) -> NoisyBatch:
        """Samples that the student makes of noise, up to the start of a step."""
        sample_BTCHW = own_samples(self.unet, noise_BTCHW, self.levels, segment_B, context_BLD)
        unknown_BTCHW = sample_BTCHW.new_full((), torch.nan).expand_as(sample_BTCHW)
        return NoisyBatch(sample_BTCHW, self.levels[segment_B] * TIMESTEP_SCALE, unknown_BTCHW)

    def _renoising(self, latent_BTCHW: torch.Tensor, rng: BatchRNG) -> Renoising:
        """Noise for predicted clips, at uniform noise levels with the teacher's shift."""
        level_B = shifted(LOWEST_LEVEL + (HIGHEST_LEVEL - LOWEST_LEVEL) * rng.uniform(), self.shift)
        return Renoising(level_B.to(latent_BTCHW), rng.normal_like(latent_BTCHW))

    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """The loss of the target, or those of its network, by phase."""
        if phase == MODEL or not isinstance(self.target, LearningTarget):
            return {"loss": self.target.loss(self.student_step(latent_BTCHW, tokens_BL, rng))}
        with torch.no_grad():
            student_step = self.student_step(latent_BTCHW, tokens_BL, rng)
        return self.target.network_losses(student_step)
