"""Small runs of every kind, as one process or as two of a launcher, for tests that compare them."""

from __future__ import annotations

import csv
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.processes import start
from tests.tiny import SMALLER, TINY

LOOP: dict[str, Any] = {
    "steps": 3, "batch_size": 4, "image_batch_size": 4, "warmup_steps": 1, "checkpoint_every": 2, "seed": 3
}  # fmt: skip

Job = tuple[str, str, Mapping[str, Any]]
"""Kind of run, its folder, and its settings beside `LOOP`."""


def start_ranks(folder: Path, world_size: int, function: Callable[..., Any], *arguments: Any) -> list[BaseProcess]:
    """Call a function in as many processes as a launcher would start; what they print goes to `rank-0` and so on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        launcher = {"WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free.getsockname()[1]}
    processes = []
    for rank in range(world_size):
        own = folder / f"rank-{rank}"
        own.mkdir(parents=True, exist_ok=True)
        variables = launcher | {"RANK": rank, "LOCAL_RANK": rank} if world_size > 1 else {}
        processes.append(start(own, _call, variables, function, *arguments))
    return processes


def start_together(folder: Path, jobs: Sequence[Job], world_size: int) -> list[BaseProcess]:
    """Start processes that do some runs one after the other."""
    return start_ranks(folder, world_size, _run, folder, list(jobs))


def together(folder: Path, jobs: Sequence[Job], world_size: int) -> None:
    """Do some runs one after the other, and wait for their end."""
    processes = start_together(folder, jobs, world_size)
    for rank, process in enumerate(processes):
        process.join(300)
        assert process.exitcode == 0, (folder / f"rank-{rank}" / "err.txt").read_text()[-3000:]


def curve(folder: Path) -> list[dict[str, float]]:
    """The losses of a run, step by step."""
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items() if name != "elapsed_s"} for row in rows]


def _call(variables: Mapping[str, object], function: Callable[..., Any], *arguments: Any) -> None:
    os.environ.update({name: str(value) for name, value in variables.items()})
    function(*arguments)


def _run(folder: Path, jobs: Sequence[Job]) -> None:
    from nas.training.engine import trainer as loop

    loop.LOG_EVERY = 1
    for kind, name, settings in jobs:
        # Two processes wait for each other at every block. In bf16 the adversarial losses of few blocks are hardly more
        # than rounding.
        train(kind, folder / name, settings, TINY if "mixed_precision" in settings else SMALLER)


def train(kind: str, folder: Path, settings: Mapping[str, Any], space_of: Mapping[str, Any] = TINY) -> None:
    import torch

    from nas import training
    from nas.data import ClipShape, MovingShapes
    from nas.models import Generation, VideoModel
    from nas.space import SearchSpace

    space, clips = SearchSpace.from_dict(dict(space_of)), MovingShapes(ClipShape(4, 16, 16, 8), clips=12, seed=0)
    loop = LOOP | dict(settings)
    if kind in {"uniform", "sandwich"}:
        skipping = {"strategy": kind, "skip_probability": 0.3, "caption_dropout": 0.3}
        training.train_supernet(space, clips, training.SuperNetConfig(**loop | skipping), folder)
        return
    torch.manual_seed(0)
    model = VideoModel.build(space, space.architecture(["conv1d", "self_attention_3d"]), Generation(guidance_scale=2))
    for parameter in model.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    if kind in {"model", "frozen"}:
        config = training.TrainingConfig(**loop, freeze_backbone=kind == "frozen")
        training.finetune_model(model, clips, config, folder)
        return
    adversarial = training.AdversarialConfig() if kind in {"adversarial", "matching"} else None
    to = training.DistillationConfig(steps=2, teacher_substeps=1, adversarial=adversarial)
    if kind == "matching":
        options = {"fake_updates": 2}
        to = to.model_copy(update={"target": "distribution_matching", "target_options": options})
    training.distill(model, clips, training.LoopConfig(**loop), to, folder)
