"""A small file of each kind that commands read, and what users name by mistake instead."""

from __future__ import annotations

import os
import sqlite3
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.tiny import TINY

SPACE = TINY | {"layers": {"wide": {"kind": "conv1d", "kernel_size": 3}}}
ARCHITECTURE = {"space": "tiny", "layers": {"down.1": ["conv1d"], "mid": ["none"]}}
TRAINING = {"steps": 1, "batch_size": 2, "image_batch_size": 1, "warmup_steps": 0, "seed": 1}
DISTILLATION = {"training": TRAINING, "distillation": {"steps": 2, "target": "data"}}
DATA = {"data": {"kind": "moving_shapes", "clips": 6}}
_QUICK = {"rounds": 1, "max_seconds": 0, "min_seconds": 0}
RUN = {
    "space": "space.yaml",
    "out": "../o/run",
    "data": DATA["data"],
    "profile": {"runtime": "torch", "threads": 1, "measurement": _QUICK},
    "fit": {"networks": 0},
    "train": TRAINING,
    "quality": {"batches": 1},
    "search": {"evaluations": 2, "sampler": "random", "steps": 2},
    "check": {"networks": 1, "measurement": _QUICK},
    "distill": DISTILLATION,
    "export": {"formats": ["safetensors"]},
    "generate": {"count": 1},
}


def score(architecture: Any) -> float:
    """A quality function that works."""
    return float(len(str(architecture)))


score.direction = "minimize"  # type: ignore[attr-defined]


def broken(architecture: Any) -> float:
    """One that fails."""
    raise RuntimeError("[bold]broken\nover two lines")


def strange(architecture: Any) -> Any:
    """One that gives no number."""
    return float("nan") if len(str(architecture)) % 2 else "good"


def make(folder: Path, *left_out: str) -> None:
    """Write all files into a folder, which becomes the current one, but those that some commands would make."""
    from nas.files import write_yaml

    os.chdir(folder)
    contents = {"space": SPACE, "architecture": ARCHITECTURE, "training": TRAINING}
    contents |= {"distillation": DISTILLATION, "data": DATA, "run": RUN}
    for name, value in contents.items():
        write_yaml(f"{name}.yaml", value)
    _make_clips(Path("videos"))
    _make_odd(Path("odd"))
    quick = "--rounds 1 --max-seconds 0 --min-seconds 0"
    common = "--study s --storage study.db"
    for line in (
        f"profile space.yaml --table table.csv --runtime torch --threads 1 {quick}",
        f"latency fit space.yaml --table table.csv --networks 3 {quick}",
        "latency estimate space.yaml --device iphone-15-pro --table estimate.csv",
        "train space.yaml --data data.yaml --out run --steps 1 --batch-size 2",
        "train space.yaml --data data.yaml --out alone --architecture architecture.yaml --steps 1 --batch-size 2",
        "distill space.yaml --data data.yaml --out distilled --model alone/model --config distillation.yaml",
        f"search space.yaml --table table.csv --quality tests.fuzzing.world:score --evaluations 3 {common}",
        "classifier space.yaml --out classifier --steps 1",
        "export distilled/model --out bundle --formats safetensors",
        "data encode space.yaml --data data.yaml --out latents",
    ):
        if not line.startswith(left_out):
            _nas(line.split())


def _nas(arguments: list[str]) -> None:
    from nas.cli import main

    sys.argv = ["nas", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"nas {' '.join(arguments)}") from end


def _make_clips(folder: Path) -> None:
    """Three videos with captions, and the same in a tar."""
    from nas.data import ClipShape, MovingShapes, write_mp4

    folder.mkdir()
    clips = MovingShapes(ClipShape(4, 16, 16, 8), clips=3)
    lines = ["file,caption"]
    for index in range(3):
        clip = clips[index]
        write_mp4(clip.video_TCHW, folder / f"{index}.mp4", 8)
        (folder / f"{index}.txt").write_text(clip.caption)
        lines.append(f"{index}.mp4,{clip.caption}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    Path("tars").mkdir()
    with tarfile.open("tars/000.tar", "w") as tar:
        for file in sorted(folder.glob("[0-9]*")):
            tar.add(file, file.name)


def _make_odd(folder: Path) -> None:
    (folder / "folder").mkdir(parents=True)
    for name in ("empty", "empty.yaml", "empty.csv", "empty.json", "empty.db"):
        (folder / name).touch()
    junk = bytes(range(256)) * 16
    for name in ("junk", "junk.yaml", "junk.csv", "junk.db", "junk.mp4", "junk.safetensors"):
        (folder / name).write_bytes(junk)
    for name in ("loop", "loop.yaml", "loop.csv", "loop.db"):
        (folder / name).symlink_to(name)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "dangling.yaml").symlink_to("nowhere/at/all")
    (folder / "folder.yaml").mkdir()
    (folder / "folder.csv").mkdir()
    (folder / "secret.yaml").write_text("name: x")
    (folder / "secret.yaml").chmod(0)  # means nothing to root
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("create table studies (study_id text)")
    other.close()
