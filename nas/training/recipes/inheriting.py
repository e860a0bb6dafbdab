"""Models of single architectures from a trained supernet, for metrics of whole models."""

from __future__ import annotations

import copy
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from nas.compression import WeightKind, compress_module
from nas.data import CaptionedClips
from nas.errors import CheckpointError, TrainingError
from nas.files import fingerprint, parse
from nas.models import Generation, VideoModel
from nas.models.parts import compressed_codec
from nas.models.weights import weights_digest
from nas.quality import NoiseLevels
from nas.space import Architecture, SearchSpace
from nas.training.flow.config import SuperNetConfig, TrainingConfig
from nas.training.flow.stored_text import reader_of
from nas.training.flow.tasks import FlowTask
from nas.training.recipes.runs import run_task
from nas.training.recipes.supernet_files import load_supernet, trained_with


class Models(ABC):
    """Makes the model of an architecture; equal architectures have equal models.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        generation: Sampling settings of the models; the shift is that of the supernet's training.
        weights: Kind of weights that the models have, see `nas.compression`; those of the training when left out.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: str | Path,
        generation: Generation | None = None,
        weights: WeightKind | None = None,
    ) -> None:
        self.space, self.weights = space, weights
        self.supernet, self.text_encoder = load_supernet(space, folder)
        self.trained = trained_with(folder)
        self.generation = (generation or Generation()).model_copy(update={"shift": self.trained.timestep_shift})

    @property
    def noise_levels(self) -> NoiseLevels:
        """Noise levels that the supernet was trained on."""
        trained = self.trained
        return NoiseLevels(trained.timestep_mean, trained.timestep_std, trained.timestep_shift)

    @property
    def origin(self) -> list[object]:
        """What every fingerprint depends on: weights and sampling settings."""
        return [weights_digest(self.supernet), weights_digest(self.text_encoder), self.generation.model_dump()]

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Digest of everything that the models depend on."""

    @abstractmethod
    def __call__(self, architecture: Architecture) -> VideoModel:
        """The model of an architecture."""


class InheritedModels(Models):
    """Models with the weights of the supernet, which are compressed once if they are compressed at all."""

    def __init__(
        self,
        space: SearchSpace,
        folder: str | Path,
        generation: Generation | None = None,
        weights: WeightKind | None = None,
    ) -> None:
        super().__init__(space, folder, generation, weights)
        self._codec = None
        if weights is not None:
            for module in (self.supernet, self.text_encoder):
                compress_module(module, weights)
            self._codec = compressed_codec(self.supernet.space, weights)

    @property
    def fingerprint(self) -> str:
        """Digest of weights and sampling settings."""
        return fingerprint(self.origin)

    def __call__(self, architecture: Architecture) -> VideoModel:
        """The architecture's part of the supernet."""
        unet = self.supernet.extract(architecture)
        return VideoModel(self.supernet.space, architecture, unet, self.text_encoder, self.generation, self._codec)


def inherit_model(
    space: SearchSpace,
    folder: str | Path,
    architecture: Architecture,
    *,
    steps: int = 25,
    guidance_scale: float = 3.0,
) -> VideoModel:
    """One architecture of a trained supernet as a stand-alone model; raises as `load_supernet`.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote.
        architecture: The architecture.
        steps: Default number of denoising steps of the model.
        guidance_scale: Default classifier-free guidance of the model.
    """
    generation = Generation(steps=steps, guidance_scale=guidance_scale)
    return InheritedModels(space, folder, generation)(space.check(architecture))


class FinetunedModels(Models):
    """Models that start from the weights of the supernet and are trained alone for some steps.

    All are trained on the same batches and noise. Settings are those of the supernet, with half its peak learning rate
    and a cosine to zero over the steps.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        clips: Training clips.
        steps: Optimiser steps per architecture.
        seed: Seed of the training.
        generation: As for `Models`.
        weights: As for `Models`; a model is compressed after its training.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: str | Path,
        clips: CaptionedClips,
        *,
        steps: int,
        seed: int = 0,
        generation: Generation | None = None,
        weights: WeightKind | None = None,
    ) -> None:
        super().__init__(space, folder, generation, weights)
        self.clips, self.config = clips, _finetuning(self.trained, steps, seed)

    @property
    def fingerprint(self) -> str:
        """Digest of weights, sampling settings, clips and training settings."""
        kind = [] if self.weights is None else [self.weights]
        return fingerprint([*self.origin, self.clips.fingerprint, self.config.decisive(), *kind])

    def __call__(self, architecture: Architecture) -> VideoModel:
        """Train the architecture alone.

        Raises:
            ArithmeticError: Training diverged, or the inherited weights are not finite.
        """
        unet, text_encoder = self.supernet.extract(architecture), copy.deepcopy(self.text_encoder)
        reader = reader_of(self.clips, self.space, lambda: text_encoder)
        start = weights_digest(unet)
        with tempfile.TemporaryDirectory() as folder:
            try:
                run_task(
                    FlowTask(unet, reader, self.config),
                    self.space,
                    self.clips,
                    self.config,
                    Path(folder),
                    "training alone",
                    start=start,
                    caption_dropout=self.config.caption_dropout,
                )
            except (CheckpointError, TrainingError) as error:
                # A property of this architecture: the evaluation fails, and the search continues.
                raise ArithmeticError(error.what) from error
        model = VideoModel(self.supernet.space, architecture, unet, text_encoder, self.generation)
        return model if self.weights is None else model.compress(self.weights)


def _finetuning(trained: SuperNetConfig, steps: int, seed: int) -> TrainingConfig:
    """Settings of the supernet, changed for a few steps of one architecture whose weights are trained already."""
    changes = {
        "steps": steps,
        "max_minutes": None,
        "learning_rate": trained.learning_rate / 2,
        "warmup_steps": min(trained.warmup_steps, steps // 10),
        "anneal_share": 1.0,
        "checkpoint_every": steps,
        "seed": seed,
    }
    settings = trained.model_dump(include=set(TrainingConfig.model_fields)) | changes
    return parse(settings, TrainingConfig, where=None)
