"""The training runs of the pipeline: a supernet, and a single architecture."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import PartialState

from nas.data import ClipDataset
from nas.errors import CheckpointError
from nas.files import atomic_folder, derive_seed, fingerprint, write_yaml
from nas.models import Generation, SuperNet, TextEncoder, VideoModel, make_codec, make_text_encoder
from nas.models.video_model import portable_space
from nas.models.weights import load_into, load_safetensors, save_safetensors, weights_digest
from nas.quality import HeldOutFlowLoss
from nas.space import Architecture, SearchSpace
from nas.training.batches import BatchSource
from nas.training.config import TrainingConfig
from nas.training.loop import Trainer, TrainingResult, make_accelerator
from nas.training.tasks import FlowTask, JointTask, SuperNetTask

WEIGHTS, TEXT_WEIGHTS = "supernet.safetensors", "text_encoder.safetensors"


def train_supernet(
    space: SearchSpace, clips: ClipDataset, config: TrainingConfig, folder: str | Path
) -> TrainingResult:
    """Train the supernet of a space and write it to `folder`; goes on where an interrupted run stopped.

    Raises:
        CheckpointError: `folder` holds checkpoints of another space, data set or configuration.
        TrainingError: The loss is no longer finite.
    """
    root = Path(folder)
    torch.manual_seed(derive_seed(config.seed, "weights"))
    supernet, text_encoder = SuperNet(space), make_text_encoder(space)
    task = SuperNetTask(supernet, text_encoder, config)
    result = run_task(task, space, clips, config, root, "training supernet", start="supernet")
    if PartialState().is_main_process:
        with atomic_folder(root / "supernet") as out:
            save_safetensors(out / WEIGHTS, supernet.state_dict())
            save_safetensors(out / TEXT_WEIGHTS, text_encoder.state_dict())
            write_yaml(out / "space.yaml", portable_space(space))
            write_yaml(out / "training.yaml", config.model_dump())
    PartialState().wait_for_everyone()
    return result


def train_model(
    space: SearchSpace,
    architecture: Architecture,
    clips: ClipDataset,
    config: TrainingConfig,
    folder: str | Path,
    generation: Generation,
) -> TrainingResult:
    """Train one architecture from scratch and write it to `folder/model`; resumes and raises as `train_supernet`."""
    torch.manual_seed(derive_seed(config.seed, "weights"))
    return finetune_model(VideoModel.build(space, architecture, generation), clips, config, folder)


def finetune_model(model: VideoModel, clips: ClipDataset, config: TrainingConfig, folder: str | Path) -> TrainingResult:
    """Train a model on from the weights it has and write it to `folder/model`; resumes as `train_supernet`."""
    root = Path(folder)
    task = FlowTask(model.unet, model.text_encoder, config)
    result = run_task(task, model.space, clips, config, root, "training model", start=weights_digest(model.unet))
    save_model(model, root / "model")
    return result


def save_model(model: VideoModel, folder: Path) -> None:
    """Write a model once, however many processes trained it."""
    if PartialState().is_main_process:
        model.save(folder)
    PartialState().wait_for_everyone()


def run_task(
    task: JointTask,
    space: SearchSpace,
    clips: ClipDataset,
    config: TrainingConfig,
    folder: Path,
    label: str,
    *,
    start: str,
) -> TrainingResult:
    """Run the training loop on a task.

    Args:
        task: What to train; holds its averaged weights afterwards.
        space: Decides the codec and, with the rest, the checkpoint's fingerprint.
        clips: Training clips.
        config: Settings.
        folder: Where checkpoints and metrics go.
        label: Shown beside the progress bar.
        start: What the weights start from; part of the fingerprint.
    """
    accelerator = make_accelerator(config)
    source = BatchSource(
        clips,
        make_codec(space),
        task.text_encoder,
        max(1, config.batch_size // accelerator.num_processes),
        -(-config.image_batch_size // accelerator.num_processes),
        config.caption_dropout,
        derive_seed(config.seed, "data"),
        accelerator.process_index,
        accelerator.num_processes,
    )
    digest = fingerprint([space.fingerprint, clips.fingerprint, config.model_dump(), start])
    trainer = Trainer(task, source, config, folder, fingerprint=digest, accelerator=accelerator, label=label)
    result = trainer.run()
    task.eval()
    return result


def load_supernet(space: SearchSpace, folder: str | Path) -> tuple[SuperNet, TextEncoder]:
    """Read what `train_supernet` wrote.

    Args:
        space: The search space; must be the one it was trained for.
        folder: The run's folder, or the `supernet` folder inside it.

    Raises:
        CheckpointError: There is no supernet, it is damaged, or it belongs to another space.
    """
    root = Path(folder)
    root = root / "supernet" if (root / "supernet").is_dir() else root
    if not (root / WEIGHTS).is_file():
        raise CheckpointError("holds no trained supernet", where=root, hint="make one with `nas train`")
    trained = SearchSpace.load(root / "space.yaml")
    if trained.fingerprint != space.fingerprint:
        raise CheckpointError(
            f"was trained for another search space ({trained.name}), or another version of it",
            where=root,
            hint=f"train again for {space.name}, or use the space.yaml beside the weights",
        )
    supernet, text_encoder = SuperNet(trained), make_text_encoder(trained)
    load_into(supernet, load_safetensors(root / WEIGHTS), where=root / WEIGHTS)
    load_into(text_encoder, load_safetensors(root / TEXT_WEIGHTS), where=root / TEXT_WEIGHTS)
    return supernet.eval(), text_encoder.eval()


def supernet_quality(
    space: SearchSpace, folder: str | Path, clips: ClipDataset, *, seed: int = 0, batches: int = 4
) -> HeldOutFlowLoss:
    """The quality metric of a search: held-out flow loss with weights inherited from a trained supernet.

    Args:
        space: The search space.
        folder: What `train_supernet` wrote; raises as `load_supernet`.
        clips: Held-out clips.
        seed: Seed of clips, noise and timesteps, the same for every architecture.
        batches: Batches of clips to average over.
    """
    supernet, text_encoder = load_supernet(space, folder)
    return HeldOutFlowLoss(supernet, text_encoder, make_codec(space), clips, seed=seed, batches=batches)


def inherit_model(
    space: SearchSpace, folder: str | Path, architecture: Architecture, generation: Generation
) -> VideoModel:
    """One architecture of a trained supernet as a stand-alone model; raises as `load_supernet`."""
    supernet, text_encoder = load_supernet(space, folder)
    architecture = space.check(architecture)
    return VideoModel(supernet.space, architecture, supernet.extract(architecture), text_encoder, generation)
