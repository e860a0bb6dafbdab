"""Held-out flow loss after a short training of each architecture alone: dearer than inherited weights, and fairer."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

from nas.data import DataSplit
from nas.errors import TrainingError
from nas.files import fingerprint
from nas.models import make_codec
from nas.models.weights import weights_digest
from nas.quality import HeldOutFlowLoss, QualityMetric
from nas.space import Architecture, SearchSpace
from nas.training.config import SuperNetConfig, TrainingConfig
from nas.training.runs import load_supernet, run_task, supernet_quality, trained_with
from nas.training.tasks import FlowTask


class FinetunedFlowLoss(QualityMetric):
    """Held-out flow loss of an architecture that was trained on alone for some steps.

    Every architecture starts from the weights it inherits from the supernet, and sees the same training batches,
    noise and held-out clips as the others. Training goes as that of the supernet, at half its peak learning rate,
    which a cosine takes to zero over the steps.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        clips: Training clips, and those held out to score on.
        steps: Optimiser steps per architecture.
        seed: Seed of training and of the held-out draw.
        batches: Batches of held-out clips to average over.
    """

    direction = "minimize"

    def __init__(
        self, space: SearchSpace, folder: str | Path, clips: DataSplit, *, steps: int, seed: int = 0, batches: int = 4
    ) -> None:
        self.name = f"held-out flow loss after {steps} steps alone"
        self.space, self.clips = space, clips
        self.supernet, self.text_encoder = load_supernet(space, folder)
        trained = trained_with(folder)
        self.config = _short(trained, steps, seed)
        self.held_out = HeldOutFlowLoss(
            self.supernet,
            self.text_encoder,
            make_codec(space),
            clips.validation,
            seed=seed,
            batches=batches,
            mean=trained.timestep_mean,
            std=trained.timestep_std,
            shift=trained.timestep_shift,
        )
        self.detail = self.held_out.detail
        parts = [clips.train.fingerprint, self.held_out.fingerprint, self.config.model_dump()]
        self.fingerprint = f"{self.name}/{fingerprint(parts)}"

    def score(self, architecture: Architecture) -> float:
        """See `QualityMetric.score`.

        Raises:
            ArithmeticError: Training diverged.
        """
        unet, text_encoder = self.supernet.extract(architecture), copy.deepcopy(self.text_encoder)
        task = FlowTask(unet, text_encoder, self.config)
        with tempfile.TemporaryDirectory() as folder:
            try:
                run_task(
                    task,
                    self.space,
                    self.clips.train,
                    self.config,
                    Path(folder),
                    "training alone",
                    start=weights_digest(unet),
                    caption_dropout=self.config.caption_dropout,
                )
            except TrainingError as error:
                # A property of this architecture, not a mistake that would stop all of them.
                raise ArithmeticError(error.what) from error
        return self.held_out.loss_of(unet, text_encoder)


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


def _short(trained: SuperNetConfig, steps: int, seed: int) -> TrainingConfig:
    """The supernet's settings, cut down to a few steps of one architecture from weights that are trained already."""
    changes = {
        "steps": steps,
        "max_minutes": None,
        "learning_rate": trained.learning_rate / 2,
        "warmup_steps": min(trained.warmup_steps, steps // 10),
        "anneal_share": 1.0,
        "checkpoint_every": steps,
        "seed": seed,
    }
    return TrainingConfig(**trained.model_dump(include=set(TrainingConfig.model_fields)) | changes)
