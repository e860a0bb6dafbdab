"""A distillation from beginning to end."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.data import CaptionedClips
from nas.errors import ConfigError, TrainingError
from nas.files import derive_seed, fingerprint
from nas.models import Generation, VideoModel
from nas.models.weights import weights_digest
from nas.training.distillation.adversarial import AdversarialTask
from nas.training.distillation.best_student import BestStudentCallback
from nas.training.distillation.checks import StudentCheck
from nas.training.distillation.config import DistillationConfig
from nas.training.distillation.task import DistillationTask
from nas.training.engine.run_folder import run_folder
from nas.training.engine.settings import LoopConfig
from nas.training.engine.trainer import TrainingResult
from nas.training.flow.stored_text import reader_of
from nas.training.recipes.runs import run_task


@dataclass(frozen=True)
class DistillationResult(TrainingResult):
    """The result of a finished distillation.

    Args:
        kept_step: Training steps of the student that is kept, whose clips were closest to those it learns from.
    """

    kept_step: int


def distill(
    teacher: VideoModel,
    clips: CaptionedClips,
    training: LoopConfig,
    distillation: DistillationConfig,
    folder: str | Path,
) -> DistillationResult:
    """Distil a model to a few steps and write it to `folder/model`; an interrupted run resumes.

    The student makes some clips at the beginning and before each checkpoint. `model` holds the student whose clips were
    closest to those it learns from. A run that fails keeps its best student.

    Args:
        teacher: A trained model that makes clips in many steps with guidance. It is frozen.
        clips: Training clips.
        training: Length, batches and learning rate.
        distillation: Target, number of steps and guidance.
        folder: Folder of checkpoints, metrics and the model.

    Raises:
        CheckpointError: `folder` holds checkpoints of another run.
        ConfigError: A batch is too small for a discriminator.
        StorageError: Another run is using `folder`, or it cannot be written.
        TrainingError: The loss is no longer finite, the discriminator has won, or the student has collapsed.
    """
    with run_folder(Path(folder), "model"):
        return _distill(teacher, clips, training, distillation, Path(folder))


def _distill(
    teacher: VideoModel, clips: CaptionedClips, training: LoopConfig, distillation: DistillationConfig, root: Path
) -> DistillationResult:
    teacher = dataclasses.replace(teacher, text_encoder=reader_of(clips, teacher.space, lambda: teacher.text_encoder))
    torch.manual_seed(derive_seed(training.seed, "weights"))  # of a discriminator
    task = make_task(teacher, training, distillation)
    generation = Generation(steps=distillation.steps, guidance_scale=1.0, shift=teacher.generation.shift)
    student = VideoModel(teacher.space, teacher.architecture, task.unet, task.text_encoder, generation)  # type: ignore[arg-type]
    callback = BestStudentCallback(student, lambda: StudentCheck(teacher, clips, distillation, training.seed), root)
    start = fingerprint(_identity(teacher, distillation))
    try:
        result = run_task(task, teacher.space, clips, training, root, "distilling", start=start, callback=callback)
    except TrainingError as error:
        raise TrainingError(f"{error.what}; {callback.kept()}", where=root, hint=error.hint) from error
    assert callback.state.best is not None, "a run that ends well has had its first check"
    return DistillationResult(result.steps, result.elapsed_s, result.final_loss, callback.state.best.step)


def _identity(teacher: VideoModel, distillation: DistillationConfig) -> list[object]:
    """Everything that decides the result, besides the clips and the training settings."""
    resolved = {"teacher_substeps": distillation.substeps, "guidance_scale": distillation.guidance}
    return [
        teacher.architecture.id,
        weights_digest(teacher.unet),
        weights_digest(teacher.text_encoder),
        teacher.generation.shift,
        distillation.model_dump() | resolved,
    ]


def make_task(teacher: VideoModel, training: LoopConfig, distillation: DistillationConfig) -> DistillationTask:
    """The task of a distillation; raises `ConfigError` if the batch is too small for a discriminator."""
    if distillation.adversarial is None:
        return DistillationTask(teacher, distillation)
    if training.batch_size < 2:
        raise ConfigError("batch_size 1 lets an adversarial training collapse", hint="use 2 or more")
    return AdversarialTask(teacher, distillation, distillation.adversarial)
