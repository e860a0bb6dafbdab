"""Does a model trained for a few minutes on `moving_shapes` do what the prompt says?

Trains one architecture from scratch for a given time, generates a clip for each of a balanced set of prompts, and
reads colour and direction of motion off the pixels: for prompts of plain movement, of a bounce, of a shape that is
hidden behind a bar on its way, and for a mixture of the three. Times are wall-clock: run it on an otherwise idle
machine. With --out, the same command evaluates the finished model again.

    python benchmarks/prompt_following.py --minutes 5 --threads 2
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from nas.data import ClipShape, MovingShapes, prompts
from nas.data.moving_shapes.scene import BEHAVIOURS
from nas.files import load_yaml
from nas.models import VideoModel
from nas.models.video_model import batches
from nas.quality import PromptAccuracy, prompt_accuracy
from nas.space import SearchSpace
from nas.training import TrainingConfig, train_model

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "moving_shapes"


def measure(minutes: float, count: int, seed: int, guidance: float, steps: int, out: Path) -> dict[str, Any]:
    """Train, generate, read; returns what is printed."""
    space = SearchSpace.load(ROOT / "search_spaces" / "moving_shapes.yaml")
    architecture = space.load_architecture(EXAMPLE / "architecture.yaml")
    settings = load_yaml(EXAMPLE / "training.yaml", TrainingConfig).model_dump()
    config = TrainingConfig(**settings | {"max_minutes": minutes, "seed": seed})
    video = space.file.video
    clips = MovingShapes(ClipShape.of(video), clips=4000, seed=seed)
    result = train_model(space, architecture, clips, config, out, steps=steps, guidance_scale=guidance)
    model = VideoModel.load(out / "model")
    sets = {name: list(prompts(count, seed=1, behaviours=[name])) for name in BEHAVIOURS}
    sets["mixture"] = list(prompts(count, seed=1))
    return {
        "training_minutes": round(result.elapsed_s / 60, 2),
        "training_steps": result.steps,
        "threads": torch.get_num_threads(),
        "denoising_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
        "accuracy": {name: asdict(follow(model, asked, seed)) for name, asked in sets.items()},
    }


def follow(model: VideoModel, asked: list[str], seed: int) -> PromptAccuracy:
    """Generate a clip per prompt and read what it shows."""
    made = [
        model.generate([asked[number] for number in part], seed=seed, first=part.start)
        for part in batches(len(asked), 16)
    ]
    return prompt_accuracy(torch.cat(made), asked)


def main(
    minutes: Annotated[float, typer.Option(help="Training time.")] = 5.0,
    count: Annotated[int, typer.Option(help="Prompts.")] = 48,
    seed: Annotated[int, typer.Option(help="Seed of data, weights and noise.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    guidance: Annotated[float, typer.Option(help="Classifier-free guidance.")] = 5.0,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    out: Annotated[Path | None, typer.Option(help="Keep the run here; a temporary folder otherwise.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how many prompts a freshly trained model follows."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as temporary:
        row = measure(minutes, count, seed, guidance, steps, out or Path(temporary))
    if as_json:
        sys.stdout.write(json.dumps(row, indent=2) + "\n")
        return
    accuracies = row.pop("accuracy")
    sys.stdout.write(", ".join(f"{name} {value}" for name, value in row.items()) + "\n")
    for name, accuracy in accuracies.items():
        shares = ", ".join(f"{what} {accuracy[what]:.1%}" for what in ("colour", "direction", "both"))
        sys.stdout.write(f"{name:>8}: {shares} of {accuracy['n']} prompts\n")


if __name__ == "__main__":
    typer.run(main)
