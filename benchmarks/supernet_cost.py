"""The time of a step of supernet training, compared with a step of one fixed architecture of the same size.

    python benchmarks/supernet_cost.py [--space FILE] [--rounds 12] [--steps 5] [--json]

Each round trains both for some steps alternately, so that the machine is in the same state for both. Printed is the
median over the rounds of the ratio of their times. A supernet draws another architecture at each step, some larger than
others. So the fixed ones are the architectures that it draws in that round, each as a network with its own weights:
this is what "of the same size" means. A sandwich trains several architectures in a step, and costs as many times more.

A step is forward, backward, clipping, AdamW and the moving average of the weights, as in training.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from benchmarks.ranking_runs import clips_of
from nas.models import SuperNet, VideoUNet, make_codec, make_text_encoder
from nas.space import SearchSpace
from nas.training import FlowTask, SuperNetConfig, SuperNetTask, TrainingTask
from nas.training.flow.batches import Batch, BatchSource

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("uniform", "fair", "sandwich")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "moving_shapes.yaml")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    space = SearchSpace.load(options.space)
    batch = BatchSource(
        clips_of(space).train.latents(make_codec(space)), make_text_encoder(space), options.batch_size, 0, 0.0, seed=0
    )(0)
    ratios = {name: _ratios(space, name, batch, options.rounds, options.steps) for name in STRATEGIES}
    report = {
        name: {"median": round(float(np.median(each)), 3), "quartiles": np.percentile(each, [25, 75]).round(3).tolist()}
        for name, each in ratios.items()
    }
    if options.json:
        sys.stdout.write(json.dumps({"space": space.name, "cost_of_a_step": report}, indent=2) + "\n")
        return
    for name, row in report.items():
        low, high = row["quartiles"]
        sys.stdout.write(
            f"{name}: {row['median']:.3f} times a fixed architecture (quartiles {low:.3f} to {high:.3f})\n"
        )


def _ratios(space: SearchSpace, strategy: str, batch: Batch, rounds: int, steps: int) -> list[float]:
    config = SuperNetConfig(strategy=strategy)
    supernet = SuperNetTask(SuperNet(space), make_text_encoder(space), config)
    train_supernet = _trainer(supernet)
    train_supernet(batch, 0)
    ratios = []
    for number in range(1, rounds + 1):
        numbers = range(number * steps, (number + 1) * steps)
        fixed = [
            _trainer(
                FlowTask(VideoUNet(space.lower(supernet.strategy.paths(step)[0])), make_text_encoder(space), config)
            )
            for step in numbers
        ]
        for train in fixed:  # first steps make the optimiser's state
            train(batch, 0)
        alone = sum(train(batch, step) for step, train in zip(numbers, fixed, strict=True))
        ratios.append(sum(train_supernet(batch, step) for step in numbers) / alone)
    return ratios


def _trainer(task: TrainingTask) -> Callable[[Batch, int], float]:
    """Make a training step of a task, and return its seconds."""
    parameters = list(task.trained_parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    ema = EMAModel(parameters, foreach=True)

    def train(batch: Batch, step: int) -> float:
        began = time.perf_counter()
        task(batch, step)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        ema.step(parameters)
        optimizer.zero_grad()
        return time.perf_counter() - began

    return train


if __name__ == "__main__":
    main()
