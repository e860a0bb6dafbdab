"""Training as a user starts it: killed for real, and on two processes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from nas.models.weights import load_safetensors
from tests.processes import finish, start_nas
from tests.tiny import TINY

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("NAS_TEST_KILLS", "5"))


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(TINY))
    (tmp_path / "training.yaml").write_text(
        yaml.safe_dump({"steps": 60, "batch_size": 2, "image_batch_size": 2, "checkpoint_every": 5})
    )
    return path


def _command(space: Path, out: Path) -> list[str]:
    config = str(space.parent / "training.yaml")
    return ["train", str(space), "--data", "moving_shapes", "--config", config, "--out", str(out)]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return load_safetensors(out / "supernet" / "supernet.safetensors")


def test_a_training_killed_again_and_again_ends_with_the_weights_of_an_undisturbed_one(
    space_file: Path, tmp_path: Path
) -> None:
    finish(start_nas(tmp_path, *_command(space_file, tmp_path / "whole")), tmp_path)
    rng, checkpoints = random.Random(0), tmp_path / "killed" / "checkpoints"
    for _ in range(KILLS):
        before = set(checkpoints.glob("step-*"))
        process = start_nas(tmp_path, *_command(space_file, tmp_path / "killed"))
        deadline = time.monotonic() + 120
        # Somewhere between the first steps and a checkpoint being written, or soon after one.
        while set(checkpoints.glob("step-*")) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.join()
    finish(start_nas(tmp_path, *_command(space_file, tmp_path / "killed")), tmp_path)
    killed, whole = _weights(tmp_path / "killed"), _weights(tmp_path / "whole")
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_two_processes_train_one_supernet(space_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "nas"]
    command = [*launch, *_command(space_file, out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained") == 1
    assert (out / "metrics.csv").read_text().count("\n") == 1 + 7
    assert all(torch.isfinite(tensor).all() for tensor in _weights(out).values())
