"""Dry runs: parameters, memory, batches and checkpoints of a training run.

Nothing is decoded, trained or allocated: models are on the meta device. Parameters, batches, steps and sizes of weights
are counted. The memory of a process is an estimate; see `MemoryEstimate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from nas.files import StrictModel
from nas.models import Generation, SuperNet, TextEncoder, VideoModel, VideoUNet, build_module, make_text_encoder
from nas.models.costs import extreme_architectures
from nas.models.text.frozen import FrozenTextEncoder
from nas.models.video_model import portable_space
from nas.space import Architecture, SearchSpace
from nas.training.distillation.config import DistillationSettings
from nas.training.distillation.run import make_task
from nas.training.dry_run.memory import MOMENTS, MemoryEstimate, estimate_memory, size_bytes
from nas.training.engine.checkpoint import KEPT
from nas.training.engine.settings import LoopConfig
from nas.training.flow.config import SuperNetConfig, TrainingConfig
from nas.training.flow.paths import PathStrategy
from nas.training.flow.tasks import FlowTask, JointTask, SuperNetTask
from nas.training.recipes.runs import share_of
from nas.training.recipes.starting import check_start
from nas.training.recipes.supernet_files import checked_supernet


class DryRun(StrictModel):
    """What a run would take.

    Args:
        trained_parameters: Number of trained parameters, those of a discriminator included.
        frozen_parameters: Number of frozen parameters, such as a teacher's.
        processes: Number of processes.
        parallel: Parallelism of the run; `alone` for one process.
        gradient_checkpointing: Whether the run recomputes blocks in the backward pass.
        memory_bytes: Memory of one process.
        batch: Clips of all processes per step of the optimiser.
        image_batch: Single frames of all processes per step.
        micro_batch: Clips of one process in one call of the network.
        image_micro_batch: Single frames of one process in one call.
        steps: Optimiser steps.
        latent_pixels: Latent pixels of all frames that the run trains on.
        checkpoints: Number of checkpoints that are written.
        checkpoints_kept: Number of checkpoints that are kept.
        checkpoint_bytes: Size of one checkpoint.
    """

    trained_parameters: int
    frozen_parameters: int
    processes: int
    parallel: str
    gradient_checkpointing: bool
    memory_bytes: MemoryEstimate
    batch: int
    image_batch: int
    micro_batch: int
    image_micro_batch: int
    steps: int
    latent_pixels: int
    checkpoints: int
    checkpoints_kept: int
    checkpoint_bytes: int


def dry_run_supernet(
    space: SearchSpace, config: SuperNetConfig, processes: int, *, backbone: str | Path | None = None
) -> DryRun:
    """Dry run of `train_supernet`; raises its errors of settings, start and batches."""
    check_start(space, config, backbone)
    space = _without_weights(space)

    def make() -> JointTask:
        task = SuperNetTask(_supernet(space), _text_encoder(space), config)
        if len(task.strategy.paths(0)) == 1:
            task.strategy = _Largest(space, config.seed)
        return task

    return _dry_run(make, space, config, processes)


def dry_run_model(
    space: SearchSpace,
    architecture: Architecture,
    config: TrainingConfig,
    processes: int,
    *,
    backbone: str | Path | None = None,
    supernet: str | Path | None = None,
) -> DryRun:
    """Dry run of `train_model`, or of `finetune_model` from the weights of a supernet.

    Raises their errors of settings, start and batches.
    """
    if supernet is None:
        check_start(space, config, backbone)
    else:
        checked_supernet(space, supernet)
    space = _without_weights(space)

    def make() -> JointTask:
        model = _model(space, architecture)
        return FlowTask(model.unet, model.text_encoder, config)

    return _dry_run(make, space, config, processes)


def dry_run_distillation(
    space: SearchSpace, architecture: Architecture, settings: DistillationSettings, processes: int
) -> DryRun:
    """Dry run of `distill`; raises its `ConfigError`s."""
    space = _without_weights(space)

    def make() -> JointTask:
        with torch.device("meta"):
            return make_task(_model(space, architecture), settings.training, settings.distillation)

    return _dry_run(make, space, settings.training, processes)


class _Largest(PathStrategy):
    """The architecture with the most parameters, in every step."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        super().__init__(space, seed)
        _, self.largest = extreme_architectures(space)

    def paths(self, step: int) -> tuple[Architecture, ...]:
        """The largest architecture."""
        return (self.largest,)


def _dry_run(make: Callable[[], JointTask], space: SearchSpace, config: LoopConfig, processes: int) -> DryRun:
    clips = share_of(config.batch_size, processes, "batch_size")
    frames = share_of(config.image_batch_size, processes, "image_batch_size")
    task = make()
    trained = {id(parameter) for phase in task.phases() for parameter in phase.parameters}
    everything = list(task.parameters())
    learning = [parameter for parameter in everything if id(parameter) in trained]
    trained_count = sum(parameter.numel() for parameter in learning)
    batch, image_batch = (size * config.gradient_accumulation for size in (config.batch_size, config.image_batch_size))
    latent = space.latent_shape[2] * space.latent_shape[3]
    seen = batch * space.latent_shape[0] * latent + image_batch * latent
    averaged = size_bytes(task.trained_parameters())
    return DryRun(
        trained_parameters=trained_count,
        frozen_parameters=sum(parameter.numel() for parameter in everything) - trained_count,
        processes=processes,
        parallel=config.parallel if processes > 1 else "alone",
        gradient_checkpointing=config.gradient_checkpointing,
        memory_bytes=estimate_memory(task, space, config, processes, clips, frames),
        batch=batch,
        image_batch=image_batch,
        micro_batch=clips,
        image_micro_batch=frames,
        steps=config.steps,
        latent_pixels=seen * config.steps,
        checkpoints=math.ceil(config.steps / config.checkpoint_every),
        checkpoints_kept=min(KEPT, math.ceil(config.steps / config.checkpoint_every)),
        checkpoint_bytes=size_bytes(everything) + averaged + MOMENTS * size_bytes(learning),
    )


def _without_weights(space: SearchSpace) -> SearchSpace:
    return SearchSpace.from_dict(portable_space(space), where=space.where)


def _supernet(space: SearchSpace) -> SuperNet:
    with torch.device("meta"):
        return SuperNet(space)


class _WithoutTokenizer(FrozenTextEncoder):
    """A frozen text encoder without a tokenizer: the text of captions does not change what a run takes."""

    def tokenize(self, captions: Sequence[str]) -> torch.Tensor:
        """Zeros for every caption."""
        return torch.zeros(len(captions), self.tokens, dtype=torch.int64)


def _text_encoder(space: SearchSpace) -> TextEncoder:
    """The text encoder on the meta device; no weights are read."""
    with torch.device("meta"):
        if space.file.text.kind == "learned":
            return make_text_encoder(space)
        (block,) = space.lower_pipeline(space.smallest()).text_encoder.blocks
        return _WithoutTokenizer(None, build_module(block), space.file.text.tokens)


def _model(space: SearchSpace, architecture: Architecture) -> VideoModel:
    with torch.device("meta"):
        unet = VideoUNet(space.lower(architecture))
    return VideoModel(space, architecture, unet, _text_encoder(space), Generation())
