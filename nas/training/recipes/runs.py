"""Training runs: a supernet, a single architecture, and fine-tuning."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from nas.data import CaptionedClips
from nas.errors import ConfigError
from nas.files import derive_seed, fingerprint
from nas.models import Generation, SuperNet, TextEncoder, VideoModel, load_pretrained, make_text_encoder
from nas.models.network import recompute_blocks
from nas.models.parts import unloaded_codec
from nas.models.weights import weights_digest
from nas.space import Architecture, SearchSpace
from nas.training.engine.callbacks import Callback
from nas.training.engine.data_workers import default_workers
from nas.training.engine.prefetch import prefetched
from nas.training.engine.processes import from_main, make_accelerator
from nas.training.engine.run_folder import run_folder
from nas.training.engine.settings import LoopConfig
from nas.training.engine.trainer import Trainer, TrainingResult
from nas.training.flow.batches import BatchSource
from nas.training.flow.config import SuperNetConfig, TrainingConfig
from nas.training.flow.stored_text import reader_of
from nas.training.flow.tasks import FlowTask, JointTask, SuperNetTask
from nas.training.recipes.starting import check_start, take_backbone
from nas.training.recipes.supernet_files import save_supernet


def train_supernet(
    space: SearchSpace,
    clips: CaptionedClips,
    config: SuperNetConfig,
    folder: str | Path,
    *,
    backbone: str | Path | None = None,
) -> TrainingResult:
    """Train the supernet of a space and write it to `folder`; an interrupted run resumes.

    Args:
        space: The search space; its `backbone.pretrained` is loaded if it is given.
        clips: Training clips.
        config: Settings.
        folder: Folder for checkpoints, metrics and the supernet.
        backbone: Folder of a model whose backbone and text encoder the supernet starts from instead.

    Raises:
        CheckpointError: `folder` holds checkpoints of another space, data set or configuration, or `backbone` is no
            model, or one with another backbone.
        ConfigError: The backbone is frozen, and nothing gives it weights.
        StorageError: Another run is using `folder`, or it cannot be written.
        TrainingError: The loss is no longer finite.
    """
    root = Path(folder)
    check_start(space, config, backbone)
    with run_folder(root, "supernet"):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        supernet = SuperNet(space)
        text_encoder = reader_of(clips, space, lambda: make_text_encoder(space))
        if backbone is not None:
            take_backbone(supernet, supernet.plan(space.smallest()), text_encoder, backbone)
        task, start = SuperNetTask(supernet, text_encoder, config), _start_of(supernet, text_encoder)
        dropout = config.caption_dropout
        result = run_task(task, space, clips, config, root, "training supernet", start=start, caption_dropout=dropout)
        from_main(lambda: save_supernet(supernet, text_encoder, config, root / "supernet"))
    return result


def train_model(
    space: SearchSpace,
    architecture: Architecture,
    clips: CaptionedClips,
    config: TrainingConfig,
    folder: str | Path,
    *,
    backbone: str | Path | None = None,
    steps: int = 25,
    guidance_scale: float = 3.0,
) -> TrainingResult:
    """Train one architecture and write it to `folder/model`; resumes and raises as `train_supernet`.

    Args:
        space: The search space; its `backbone.pretrained` is loaded if it is given; the rest starts from scratch.
        architecture: The architecture.
        clips: Training clips.
        config: Settings.
        folder: Folder for checkpoints, metrics and the model.
        backbone: Folder of a model whose backbone and text encoder the architecture starts from instead.
        steps: Default number of denoising steps of the model.
        guidance_scale: Default classifier-free guidance of the model.
    """
    check_start(space, config, backbone)
    with run_folder(Path(folder), "model"):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        generation = Generation(steps=steps, guidance_scale=guidance_scale, shift=config.timestep_shift)
        model = VideoModel.build(space, architecture, generation)
        if backbone is not None:
            take_backbone(model.unet, model.unet.plan, model.text_encoder, backbone)
        elif space.file.backbone.pretrained is not None:
            load_pretrained(model.unet, space, space.resolve_path(space.file.backbone.pretrained))
        return _finetune(model, clips, config, Path(folder))


def finetune_model(
    model: VideoModel, clips: CaptionedClips, config: TrainingConfig, folder: str | Path
) -> TrainingResult:
    """Continue the training of a model and write it to `folder/model`; resumes as `train_supernet`."""
    with run_folder(Path(folder), "model"):
        return _finetune(model, clips, config, Path(folder))


def _finetune(model: VideoModel, clips: CaptionedClips, config: TrainingConfig, root: Path) -> TrainingResult:
    task = FlowTask(model.unet, reader_of(clips, model.space, lambda: model.text_encoder), config)
    start, dropout = _start_of(model.unet, model.text_encoder), config.caption_dropout
    result = run_task(task, model.space, clips, config, root, "training model", start=start, caption_dropout=dropout)
    save_model(model, root / "model")
    return result


def save_model(model: VideoModel, folder: Path) -> None:
    """Write a model in the main process; an error is raised in all processes."""
    from_main(lambda: model.save(folder))


def run_task(
    task: JointTask,
    space: SearchSpace,
    clips: CaptionedClips,
    config: LoopConfig,
    folder: Path,
    label: str,
    *,
    start: str,
    caption_dropout: float = 0.0,
    callback: Callback | None = None,
) -> TrainingResult:
    """Run the training loop on a task.

    Args:
        task: The task; holds its averaged weights afterwards.
        space: The search space; it decides the codec, and is part of the checkpoint's fingerprint.
        clips: Training clips.
        config: Settings.
        folder: Folder for checkpoints and metrics.
        label: Text beside the progress bar.
        start: Digest of the weights that the run starts from; part of the checkpoint's fingerprint.
        caption_dropout: Share of captions replaced by the empty one.
        callback: Called at fixed moments; may end the run.

    Raises:
        ConfigError: A batch size is not divisible by the number of processes.
    """
    if config.gradient_checkpointing:
        recompute_blocks(task)
    accelerator = make_accelerator(config, all_used=task.uses_all_parameters())
    count = accelerator.num_processes
    source = BatchSource(
        clips.latents(unloaded_codec(space)),
        task.text_encoder.without_weights(),
        share_of(config.batch_size, count, "batch_size"),
        share_of(config.image_batch_size, count, "image_batch_size"),
        caption_dropout,
        derive_seed(config.seed, "data"),
        accelerator.process_index,
        count,
    )
    digest = fingerprint([space.fingerprint, clips.fingerprint, config.decisive(), start])
    workers = config.data_workers
    if workers is None:
        workers = default_workers(source, accelerator.device, decodes=source.decodes)
    repeated = config.gradient_accumulation
    with prefetched(source, accelerator.device, workers=workers, repeated=repeated) as batches:
        trainer = Trainer(
            task, batches, config, folder, fingerprint=digest, accelerator=accelerator, label=label, callback=callback
        )
        result = trainer.run()
    task.eval()
    return result


def share_of(batch_size: int, count: int, name: str) -> int:
    """One process's share of a batch; raises `ConfigError` if the batch cannot be shared evenly."""
    if batch_size % count:
        raise ConfigError(f"{name} {batch_size} cannot be shared among {count} processes", hint="use a multiple")
    return batch_size // count


def _start_of(network: nn.Module, text_encoder: TextEncoder) -> str:
    """Digest of the weights that a run starts from: of the network, and of a text encoder that is trained."""
    modules = [network, text_encoder] if text_encoder.trainable else [network]
    return fingerprint([weights_digest(module) for module in modules])
