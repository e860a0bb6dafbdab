"""How long training stands still for a checkpoint, while it is written or in the background.

    python benchmarks/checkpoint_stall.py [--gigabytes 1.5] [--repeats 3] [--folder DIR] [--json]

Saves a task of random weights with its averages and optimiser state, which are of the given size together. For each
way, in a process of its own, it prints the seconds for which a run stands still and the seconds until the checkpoint is
written (medians of the repeats), and the memory that this takes beside the state (the largest).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from benchmarks.printing import print_rows
from nas.training.engine.checkpoint import Progress, RunHistory, TrainingState
from nas.training.engine.checkpoint_writer import BackgroundWriter, CheckpointWriter
from nas.training.engine.task import MODEL, Losses, OptimizerPhase, TrainingTask

LAYERS, COPIES = 40, 4
"""Weights, averages and two moments are the copies."""

WAYS = {"waiting": CheckpointWriter, "in the background": BackgroundWriter}


class Weights(TrainingTask[Any]):
    """A task of some weights, of which none has a loss."""

    def __init__(self, gigabytes: float) -> None:
        super().__init__()
        size = int(gigabytes * 1e9 / 4 / COPIES / LAYERS)
        self.weights = nn.ParameterList(torch.randn(size) for _ in range(LAYERS))

    def forward(self, batch: Any, step: int, phase: str = MODEL) -> Losses:
        """Nothing to compute."""
        return {}

    def state(self) -> TrainingState:
        """The state of a run after its first steps."""
        parameters = tuple(self.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=1e-3)
        for parameter in parameters:
            moments = {"exp_avg": torch.rand_like(parameter), "exp_avg_sq": torch.rand_like(parameter)}
            optimizer.state[parameter] = {"step": torch.tensor(1.0), **moments}
        phase = OptimizerPhase(MODEL, parameters)
        return TrainingState(self, (phase,), {MODEL: optimizer}, EMAModel(parameters, decay=0.999))


def measure(way: str, gigabytes: float, repeats: int, folder: str) -> dict[str, Any]:
    """Save some checkpoints in one way."""
    state = Weights(gigabytes).state()
    stalls, writes, before = [], [], _peak_bytes()
    with tempfile.TemporaryDirectory(dir=folder) as root:
        writer = WAYS[way](Path(root) / "checkpoints", state, "benchmark")
        for step in range(1, repeats + 1):
            begun = time.perf_counter()
            writer.save(Progress(step, 1.0), RunHistory({}))
            stalls.append(time.perf_counter() - begun)
            writer.wait()
            writes.append(time.perf_counter() - begun)
        writer.close()
    seconds = {"stands still, s": statistics.median(stalls), "written after, s": statistics.median(writes)}
    memory = {"memory, GB": (_peak_bytes() - before) / 1e9}
    return {"way": way, "GB": gigabytes} | {name: round(value, 2) for name, value in (seconds | memory).items()}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.5, help="size of a checkpoint")
    parser.add_argument("--repeats", type=int, default=3, help="checkpoints of each way")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where to write, on the disk of interest")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = []
    for way in WAYS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(measure, (way, options.gigabytes, options.repeats, options.folder)))
    print_rows(rows, as_json=options.json)


if __name__ == "__main__":
    main()
