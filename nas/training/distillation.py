"""Distillation to a few steps without guidance.

The few-step schedule has K noise levels. For each of its segments the student learns to go in one Euler step
where the guided teacher goes in several: progressive distillation (Salimans and Ho 2022, arXiv 2202.00512) to
K steps at once, on a teacher with classifier-free guidance (Meng et al. 2023, arXiv 2210.03142), in the velocity
form of flow matching. The guidance is baked in, so the student needs one call per step.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch.nn import functional as F

from nas.data import ClipDataset
from nas.files import StrictModel
from nas.models import Generation, VideoModel
from nas.models.flow import TIMESTEP_SCALE, mix
from nas.models.video_model import flow_schedule, guided_velocity
from nas.models.weights import weights_digest
from nas.training.config import LoopConfig
from nas.training.loop import TrainingResult
from nas.training.runs import run_task, save_model
from nas.training.tasks import JointTask


class DistillationConfig(StrictModel):
    """What to distil to.

    Args:
        steps: Denoising steps of the student.
        teacher_substeps: Euler steps of the teacher per step of the student.
        guidance_scale: Guidance of the teacher, which the student learns to do without.
    """

    steps: PositiveInt = 4
    teacher_substeps: PositiveInt = 4
    guidance_scale: Annotated[float, Field(ge=1)] = 3.0


class DistillationTask(JointTask):
    """One Euler step of the student for several guided ones of the teacher.

    Args:
        teacher: The model to learn from; frozen, as is the text encoder.
        config: What to distil to.
    """

    def __init__(self, teacher: VideoModel, config: DistillationConfig) -> None:
        super().__init__(copy.deepcopy(teacher.unet), teacher.text_encoder.requires_grad_(False))
        self.unet.requires_grad_(True)
        self.teacher = teacher.unet.requires_grad_(False)
        self.config = config
        levels = flow_schedule(config.steps, teacher.generation.shift).sigmas
        self.register_buffer("levels", levels.float(), persistent=False)
        self.levels: torch.Tensor

    def train(self, mode: bool = True) -> DistillationTask:
        """Switch the student's mode; the teacher always evaluates."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, step: int) -> torch.Tensor:
        """Mean squared error between the student's velocity and the mean velocity of the teacher's path."""
        context_BLD = self.text_encoder(tokens_BL)
        segment_B = torch.randint(self.config.steps, (len(latent_BTCHW),)).to(latent_BTCHW.device)
        start_B, end_B = self.levels[segment_B], self.levels[segment_B + 1]
        noisy = mix(latent_BTCHW, torch.randn_like(latent_BTCHW), start_B)
        reached_BTCHW = self._teacher_path(noisy.sample_BTCHW, start_B, end_B, context_BLD)
        target_BTCHW = (noisy.sample_BTCHW - reached_BTCHW) / (start_B - end_B).reshape(-1, 1, 1, 1, 1)
        velocity_BTCHW = self.unet(noisy.sample_BTCHW, noisy.timestep_B, context_BLD)
        return F.mse_loss(velocity_BTCHW.float(), target_BTCHW.float())

    @torch.no_grad()
    def _teacher_path(
        self, sample_BTCHW: torch.Tensor, start_B: torch.Tensor, end_B: torch.Tensor, context_BLD: torch.Tensor
    ) -> torch.Tensor:
        """Where the guided teacher arrives at level `end_B` from `sample_BTCHW` at level `start_B`."""
        scale, substeps = self.config.guidance_scale, self.config.teacher_substeps
        tokens_BL = self.text_encoder.tokenize([""] * len(sample_BTCHW)).to(sample_BTCHW.device)
        empty_BLD = self.text_encoder(tokens_BL) if scale != 1 else None
        stride_B = (end_B - start_B) / substeps
        for index in range(substeps):
            timestep_B = (start_B + index * stride_B) * TIMESTEP_SCALE
            velocity = guided_velocity(self.teacher, sample_BTCHW, timestep_B, context_BLD, empty_BLD, scale)
            sample_BTCHW = sample_BTCHW + stride_B.reshape(-1, 1, 1, 1, 1) * velocity
        return sample_BTCHW


def distill(
    teacher: VideoModel,
    clips: ClipDataset,
    training: LoopConfig,
    distillation: DistillationConfig,
    folder: str | Path,
) -> TrainingResult:
    """Distil a model to a few steps and write it to `folder/model`; goes on where an interrupted run stopped.

    Args:
        teacher: A trained model, to be sampled with many steps and guidance. It is frozen.
        clips: Training clips.
        training: Length, batches and learning rate.
        distillation: What to distil to.
        folder: Where checkpoints, metrics and the model go.

    Raises:
        CheckpointError: `folder` holds checkpoints of another run.
        TrainingError: The loss is no longer finite.
    """
    root = Path(folder)
    task = DistillationTask(teacher, distillation)
    start = f"distil {teacher.architecture.id} {weights_digest(teacher.unet)} {distillation}"
    result = run_task(task, teacher.space, clips, training, root, "distilling", start=start)
    generation = Generation(steps=distillation.steps, guidance_scale=1.0, shift=teacher.generation.shift)
    student = VideoModel(teacher.space, teacher.architecture, task.unet, task.text_encoder, generation)  # type: ignore[arg-type]
    save_model(student, root / "model")
    return result
