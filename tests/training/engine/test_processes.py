"""Training as a user starts it: killed for real, and on two processes of a launcher."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from nas.cli import main
from nas.files import TEMPORARY_PREFIX, read_json
from nas.models import Generation, VideoModel
from nas.models.weights import load_safetensors
from nas.space import SearchSpace
from tests.processes import finish, nas_command, start, start_nas
from tests.tiny import TINY
from tests.training.runs_at_scale import start_ranks

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("NAS_TEST_KILLS", "2"))


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    return _write_files(tmp_path)


def _write_files(folder: Path) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(TINY))
    (folder / "training.yaml").write_text(
        yaml.safe_dump({"steps": 40, "batch_size": 2, "image_batch_size": 2, "checkpoint_every": 5})
    )
    return path


def _command(space: Path, out: Path) -> list[str]:
    config = str(space.parent / "training.yaml")
    return ["train", str(space), "--data", "moving_shapes", "--config", config, "--out", str(out)]


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return load_safetensors(out / "supernet" / "supernet.safetensors")


def _nas_killed_at(number: int, *arguments: str) -> None:
    """A command line of nas whose process is killed for real while it has the disk keep a file of a checkpoint."""
    left, sync = [number], os.fsync

    def kill(file: int) -> None:
        left[0] -= "/checkpoints/" in str(Path(f"/proc/self/fd/{file}").readlink())
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    os.fsync = kill
    sys.argv = ["nas", *arguments]
    main()


def _temporaries(folder: Path) -> list[Path]:
    return list(folder.rglob(f"{TEMPORARY_PREFIX}*"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights of an undisturbed training."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start_nas(folder, *_command(_write_files(folder), folder / "whole")), folder)
    return _weights(folder / "whole")


def test_a_training_killed_again_and_again_ends_with_the_weights_of_an_undisturbed_one(
    space_file: Path, tmp_path: Path, whole: dict[str, torch.Tensor]
) -> None:
    rng, checkpoints = random.Random(0), tmp_path / "killed" / "checkpoints"
    for _ in range(KILLS):
        before = set(checkpoints.glob("step-*"))
        process = start_nas(tmp_path, *_command(space_file, tmp_path / "killed"))
        deadline = time.monotonic() + 120
        # Somewhere between the first steps and a checkpoint being written, or soon after one.
        while set(checkpoints.glob("step-*")) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.join()
    _ends_well_if_killed_in_checkpoints(space_file, tmp_path, whole)


def test_a_training_killed_while_a_checkpoint_is_written_in_the_background_ends_with_the_same_weights(
    space_file: Path, tmp_path: Path, whole: dict[str, torch.Tensor]
) -> None:
    settings = yaml.safe_load((tmp_path / "training.yaml").read_text()) | {"background_checkpoints": True}
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(settings))
    _ends_well_if_killed_in_checkpoints(space_file, tmp_path, whole)


def _ends_well_if_killed_in_checkpoints(space_file: Path, tmp_path: Path, whole: dict[str, torch.Tensor]) -> None:
    checkpoints = tmp_path / "killed" / "checkpoints"
    for number in (2, 9):  # in the first checkpoint that is written, and in the second
        process = start(tmp_path, _nas_killed_at, number, *_command(space_file, tmp_path / "killed"))
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, (tmp_path / "err.txt").read_text()
        assert _temporaries(checkpoints)
    finish(start_nas(tmp_path, *_command(space_file, tmp_path / "killed")), tmp_path)
    assert not _temporaries(tmp_path / "killed")
    killed = _weights(tmp_path / "killed")
    assert all(torch.equal(killed[name], whole[name]) for name in whole)


def test_two_processes_of_accelerate_train_one_supernet(space_file: Path, tmp_path: Path) -> None:
    # Without --multi_gpu, accelerate starts one process where it finds no graphics card.
    launch = f"{sys.executable} -m accelerate.commands.launch --multi_gpu --num_machines 1 --num_processes 2"
    launch += " --mixed_precision no --dynamo_backend no --main_process_port 0 -m nas"
    command = [*launch.split(), *_command(space_file, tmp_path / "two"), "--steps", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("trained") == 1
    assert (tmp_path / "two" / "metrics.csv").read_text().count("\n") == 1 + 2
    assert all(torch.isfinite(tensor).all() for tensor in _weights(tmp_path / "two").values())


def test_two_processes_distil_against_one_discriminator(space_file: Path, tmp_path: Path) -> None:
    space = SearchSpace.load(space_file)
    teacher = VideoModel.build(space, space.smallest(), Generation())
    teacher.save(tmp_path / "teacher")
    (tmp_path / "to.yaml").write_text("training: {steps: 2, batch_size: 4, image_batch_size: 2, checkpoint_every: 1}\n")
    command = ["distill", str(space_file), "--data", "moving_shapes", "--model", str(tmp_path / "teacher")]
    out = tmp_path / "student"
    command += ["--adversarial", "--config", str(tmp_path / "to.yaml"), "--out", str(out)]
    processes = start_ranks(tmp_path, 2, nas_command, *command)
    said = [finish(process, tmp_path / f"rank-{rank}") for rank, process in enumerate(processes)]
    assert sum(text.count("distilled") for text in said) == 1
    assert [check["step"] for check in read_json(out / "checks.json")["checks"]] == [0, 1, 2]
    optimizers = load_safetensors(out / "checkpoints" / "step-00000002" / "optimizers.safetensors")
    assert {name.partition(".")[0] for name in optimizers} == {"model", "discriminator"}
    VideoModel.load(out / "model")
