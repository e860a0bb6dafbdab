"""Trainings of rankings and of `winner.py`. Each has its own folder, and is done only once."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from nas.data import ClipShape, DataSplit, MovingShapesConfig, open_data
from nas.files import fingerprint, read_json, write_json
from nas.models import SuperNet, VideoModel, make_codec, make_text_encoder
from nas.models.weights import folder_digest
from nas.progress import progress_bar
from nas.quality import HeldOutFlowLoss
from nas.space import NONE, Architecture, SearchSpace
from nas.training import SuperNetConfig, TrainingConfig, supernet_quality, train_model, train_supernet
from nas.training.flow.paths import RANDOM_PATHS

HELD_OUT_SEED = 0
BATCHES = 32
FINE_BATCHES = 64
"""For the ranking by a finished run's supernet, beside those of its search."""
BACKBONE_SEED, IMAGE_STEPS = 3000, 3000
BACKBONES = {
    "frozen": "a frozen backbone ({steps} image steps)",
    "tuned": "a backbone ({steps} image steps), trained along",
    "random": "random weights",
}
SETTINGS = {
    "batch_size": 16, "image_batch_size": 4, "learning_rate": 2e-3, "timestep_shift": 3.0, "checkpoint_every": 200,
}  # fmt: skip


Clips = Callable[[SearchSpace], DataSplit]
"""Opens clips in the shape of a space. It must be picklable, because other processes call it."""


def clips_of(space: SearchSpace) -> DataSplit:
    """Moving shapes in the shape of a space."""
    video = space.file.video
    shape = ClipShape.of(video)
    return open_data(MovingShapesConfig(kind="moving_shapes"), shape, base=Path())


@dataclass(frozen=True)
class Job:
    """One training, and the architectures to score after it.

    Args:
        name: Of its folder.
        space: File of the search space.
        config: Of the training; a `SuperNetConfig` for a supernet.
        architectures: What is scored: with the weights of the supernet, or the one that was trained alone.
        backbone: Folder of the model whose backbone and text encoder it starts from; random weights where left out.
        clips: Opens the clips that it trains and is scored on.
        draw: Seed of the noise that it is scored with.
    """

    name: str
    space: Path
    config: TrainingConfig
    architectures: tuple[Architecture, ...]
    backbone: Path | None = None
    clips: Clips = clips_of
    draw: int = HELD_OUT_SEED

    def run(self, out: Path) -> dict[str, float]:
        """Train and score, or read the results of an earlier run; returns losses by architecture."""
        space = SearchSpace.load(self.space)
        ids = [architecture.id for architecture in self.architectures]
        clips = self.clips(space)
        start = [] if self.backbone is None else [folder_digest(self.backbone)]
        data = [clips.train.fingerprint, clips.validation.fingerprint, self.draw]
        identity = fingerprint([space.fingerprint, self.config.model_dump(), ids, BATCHES, data, *start])
        file = out / self.name / "losses.json"
        if file.is_file() and (saved := read_json(file))["identity"] == identity:
            return dict(saved["losses"])
        torch.set_num_threads(1)
        losses = self._train(space, clips, out / self.name)
        write_json(file, {"identity": identity, "losses": losses})
        return losses

    def _train(self, space: SearchSpace, clips: DataSplit, folder: Path) -> dict[str, float]:
        if isinstance(self.config, SuperNetConfig):
            train_supernet(space, clips.train, self.config, folder, backbone=self.backbone)
            quality = supernet_quality(space, folder, clips.validation, seed=self.draw, batches=BATCHES)
            return {each.id: quality.score(each) for each in self.architectures}
        (alone,) = self.architectures
        train_model(space, alone, clips.train, self.config, folder, backbone=self.backbone)
        model = VideoModel.load(folder / "model")
        return {alone.id: self._held_out(space, clips).loss_of(model.unet, model.text_encoder)}

    def _held_out(self, space: SearchSpace, clips: DataSplit) -> HeldOutFlowLoss:
        """The metric of `supernet_quality`; a network with its own weights uses only its clips and noise."""
        config = self.config
        levels = {"mean": config.timestep_mean, "std": config.timestep_std, "shift": config.timestep_shift}
        parts = SuperNet(space), make_text_encoder(space), make_codec(space), clips.validation
        return HeldOutFlowLoss(*parts, seed=self.draw, batches=BATCHES, **levels)


@dataclass(frozen=True)
class Common:
    """Common settings of all trainings of a ranking; makes the trainings.

    Args:
        space: File of the search space.
        settings: Of all trainings but for steps and seed.
        backbone: See `Job`, as for the rest.
        clips: Likewise.
        draw: Likewise.
    """

    space: Path
    settings: Mapping[str, Any]
    backbone: Path | None
    clips: Clips = clips_of
    draw: int = HELD_OUT_SEED

    def alone(self, architecture: Architecture, seed: int, steps: int) -> Job:
        """One architecture, trained alone."""
        config = TrainingConfig(steps=steps, seed=seed, **self.settings)
        return self._job(f"alone-{seed}-{architecture.id}", config, (architecture,))

    def supernet(self, strategy: str, seed: int, passes: int, architectures: tuple[Architecture, ...]) -> Job:
        """A supernet with a given number of updates; with fewer steps, if each trains several architectures."""
        steps = passes // (2 + RANDOM_PATHS if strategy == "sandwich" else 1)
        config = SuperNetConfig(strategy=strategy, seed=seed, steps=steps, **self.settings)
        return self._job(f"supernet-{strategy}-{seed}", config, architectures)

    def _job(self, name: str, config: TrainingConfig, architectures: tuple[Architecture, ...]) -> Job:
        return Job(name, self.space, config, architectures, self.backbone, self.clips, self.draw)


@dataclass(frozen=True)
class Start:
    """What all trainings of a benchmark start from.

    Args:
        backbone: What becomes of the backbone: "frozen" or "tuned" after it was trained without temporal layers, as an
            image model is in practice, or "random" weights.
        image_steps: Of that training without temporal layers.
    """

    backbone: str
    image_steps: int

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add --backbone and --image-steps."""
        parser.add_argument(
            "--backbone",
            choices=list(BACKBONES),
            default="frozen",
            help="whether the backbone is frozen, tuned or random",
        )
        parser.add_argument("--image-steps", type=int, help=f"steps of the backbone (default: {IMAGE_STEPS})")

    @classmethod
    def of(cls, options: argparse.Namespace) -> Start:
        """The start that the options describe; ends the program if they contradict each other."""
        steps = IMAGE_STEPS if options.image_steps is None else options.image_steps
        if steps < 1:
            sys.exit("error: --image-steps: at least 1")
        if options.backbone == "random" and options.image_steps is not None:
            sys.exit("error: --image-steps: random weights have none")
        return cls(options.backbone, steps)

    @property
    def settings(self) -> dict[str, Any]:
        """Of all trainings that begin so."""
        return SETTINGS | {"freeze_backbone": self.backbone == "frozen"}

    def train(self, space_file: Path, out: Path) -> Path | None:
        """Folder of the model to start from, trained if it is missing; `None` for random weights."""
        if self.backbone == "random":
            return None
        space = SearchSpace.load(space_file)
        config = TrainingConfig(steps=self.image_steps, seed=BACKBONE_SEED, **SETTINGS)
        job = Job("backbone", space_file, config, (space.without_layers(),))
        run_all([job], out, 1)
        return out / job.name / "model"

    def __str__(self) -> str:
        return BACKBONES[self.backbone].format(steps=self.image_steps)


def run_all(jobs: list[Job], out: Path, workers: int) -> dict[str, dict[str, float]]:
    """Losses by architecture, by name of the job."""
    names = [job.name for job in jobs]
    with progress_bar("training", len(jobs), 0) as advance:
        found = {}
        for number, losses in in_processes(Job.run, jobs, out, workers):
            found[names[number]] = losses
            advance(names[number])
    return found


Task = TypeVar("Task")
Result = TypeVar("Result")


def in_processes(
    run: Callable[[Task, Path], Result], tasks: Sequence[Task], out: Path, workers: int
) -> Iterator[tuple[int, Result]]:
    """Run tasks, and yield them as they end. A single worker is this process."""
    if workers == 1:
        yield from ((number, run(task, out)) for number, task in enumerate(tasks))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run, task, out): number for number, task in enumerate(tasks)}
        for done in as_completed(running):
            yield running[done], done.result()


def spread(space: SearchSpace, count: int, seed: int) -> tuple[Architecture, ...]:
    """Distinct architectures with few, some and many temporal layers, each number of layers about equally often.

    Uniform draws of a space of many slots nearly all have about the same number of layers. A search looks at all
    of its front, from the cheapest to the dearest.

    Raises:
        ValueError: The space does not have so many.
    """
    if count > space.count():
        raise ValueError(f"{count} architectures asked for, {space.count()} exist")
    rng = random.Random(seed)
    drawn: dict[Architecture, None] = {}
    for layers in itertools.cycle(range(len(space.slots) + 1)):
        filled = set(rng.sample(range(len(space.slots)), layers))
        choices = [
            rng.choice([name for name in slot.candidates if name != NONE]) if place in filled else NONE
            for place, slot in enumerate(space.slots)
        ]
        drawn[space.architecture(choices)] = None
        if len(drawn) == count:
            break
    return tuple(drawn)
