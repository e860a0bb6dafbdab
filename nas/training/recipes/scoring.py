"""The metrics that a trained supernet gives to a search, and dearer ones for its second stage."""

from __future__ import annotations

from pathlib import Path

from nas.data import CaptionedClips, ClipShape, DataSplit
from nas.files import fingerprint
from nas.models import unloaded_codec
from nas.quality import ClipMetric, ClipQuality, HeldOutFlowLoss, QualityMetric
from nas.space import Architecture, SearchSpace
from nas.training.recipes.inheriting import FinetunedModels, InheritedModels, Models
from nas.training.recipes.runs import supernet_quality


class FinetunedFlowLoss(QualityMetric):
    """Held-out flow loss of an architecture that was trained on alone for some steps: dearer than inherited weights.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        clips: Training clips, and those held out to score on.
        steps: Optimiser steps per architecture; see `FinetunedModels`.
        seed: Seed of training and of the held-out draw.
        batches: Batches of held-out clips to average over.
    """

    direction = "minimize"

    def __init__(
        self, space: SearchSpace, folder: str | Path, clips: DataSplit, *, steps: int, seed: int = 0, batches: int = 4
    ) -> None:
        self.name = f"held-out flow loss after {steps} steps alone"
        self.models = FinetunedModels(space, folder, clips.train, steps=steps, seed=seed)
        trained = self.models.trained
        self.held_out = HeldOutFlowLoss(
            self.models.supernet,
            self.models.text_encoder,
            unloaded_codec(space),
            clips.validation,
            seed=seed,
            batches=batches,
            mean=trained.timestep_mean,
            std=trained.timestep_std,
            shift=trained.timestep_shift,
        )
        self.detail = self.held_out.detail
        self.fingerprint = f"{self.name}/{fingerprint([self.models.fingerprint, self.held_out.fingerprint])}"

    def score(self, architecture: Architecture) -> float:
        """See `QualityMetric.score`.

        Raises:
            ArithmeticError: Training diverged.
        """
        model = self.models(architecture)
        return self.held_out.loss_of(model.unet, model.text_encoder)


def held_out_quality(
    space: SearchSpace,
    folder: str | Path,
    clips: DataSplit,
    *,
    finetune_steps: int | None = None,
    seed: int = 0,
    batches: int = 4,
) -> QualityMetric:
    """Held-out flow loss with inherited weights, or after training each architecture alone for some steps.

    Arguments as of `supernet_quality` and `FinetunedFlowLoss`, of which it is one.
    """
    if finetune_steps is None:
        return supernet_quality(space, folder, clips.validation, seed=seed, batches=batches)
    return FinetunedFlowLoss(space, folder, clips, steps=finetune_steps, seed=seed, batches=batches)


def clip_quality(
    space: SearchSpace,
    folder: str | Path,
    metric: ClipMetric,
    prompts: tuple[str, ...],
    *,
    clips: CaptionedClips | None = None,
    finetune_steps: int | None = None,
    seed: int = 0,
    depends_on: str = "",
) -> ClipQuality:
    """A metric of the clips that architectures make, as they are in the supernet or trained alone for some steps.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        metric: Judges the clips.
        prompts: Sentences of the moving-shapes grammar.
        clips: Training clips, where architectures are trained alone.
        finetune_steps: Train each architecture alone for so many steps first.
        seed: Of training, noise and real clips.
        depends_on: Digest of what the metric depends on, such as the weights of a classifier.

    Raises:
        ValueError: There are steps to train for without clips, or clips without steps.
    """
    if (clips is None) != (finetune_steps is None):
        raise ValueError("clips and finetune_steps go together")
    models: Models = InheritedModels(space, folder)
    if clips is not None and finetune_steps is not None:
        models = FinetunedModels(space, folder, clips, steps=finetune_steps, seed=seed)
    video = space.file.video
    shape = ClipShape(video.frames, video.height, video.width, video.fps)
    digest = fingerprint([models.fingerprint, depends_on])
    return ClipQuality(models, metric, shape, prompts, seed=seed, fingerprint=digest)
