"""One run at a time in a folder, and nothing left in it of those that were killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.data import ClipShape, MovingShapes
from nas.errors import StorageError, TrainingError
from nas.models import VideoModel
from nas.space import SearchSpace
from nas.training import (
    DistillationConfig,
    LoopConfig,
    SuperNetConfig,
    TrainingConfig,
    distill,
    finetune_model,
    train_classifier,
    train_model,
    train_supernet,
)
from nas.training.engine.run_folder import run_folder
from tests.processes import start

Run = Callable[[Path], object]


def _hold(folder: Path) -> None:
    with run_folder(folder, "model"):
        (folder / "held").touch()
        time.sleep(60)


@pytest.fixture
def held(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A run's folder that a process holds, and the process."""
    folder = tmp_path / "run"
    process = start(tmp_path, _hold, folder)
    while not (folder / "held").exists():
        assert process.is_alive(), (tmp_path / "err.txt").read_text()
        time.sleep(0.01)
    yield folder, process
    process.kill()
    process.join()


@pytest.fixture
def runs(space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, model: VideoModel) -> dict[str, Run]:
    alone = TrainingConfig(steps=1, batch_size=1, image_batch_size=0)
    loop, to = LoopConfig(steps=1, batch_size=1, image_batch_size=0), DistillationConfig(steps=1, teacher_substeps=1)
    return {
        "supernet": lambda folder: train_supernet(space, clips, config, folder),
        "architecture": lambda folder: train_model(space, space.smallest(), clips, alone, folder),
        "model": lambda folder: finetune_model(model, clips, alone, folder),
        "student": lambda folder: distill(model, clips, loop, to, folder),
        "classifier": lambda folder: train_classifier(ClipShape(4, 16, 16, 8), folder, steps=1),
    }


def test_a_folder_in_use_is_refused_with_the_name_of_who_uses_it(held, runs: dict[str, Run]) -> None:  # type: ignore[no-untyped-def]
    folder, process = held
    before = sorted(path.name for path in folder.iterdir())
    for run in runs.values():
        with pytest.raises(
            StorageError, match=rf"run: another process is using this folder: process {process.pid} on .*"
        ):
            run(folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_folder_of_a_killed_run_is_taken_over(held, runs: dict[str, Run]) -> None:  # type: ignore[no-untyped-def]
    folder, process = held
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    runs["architecture"](folder)
    assert (folder / "model").is_dir()


def test_what_killed_runs_left_of_checkpoints_is_removed_and_what_others_write_is_not(
    tmp_path: Path, runs: dict[str, Run]
) -> None:
    checkpoints = tmp_path / "checkpoints"
    for name in (".nas-tmp-1-a", f".nas-tmp-{os.getpid()}-b", ".nas-tmp-c"):
        (checkpoints / name).mkdir(parents=True)
        (checkpoints / name / "task.safetensors").touch()
    others = tmp_path / f".nas-tmp-{os.getppid()}-d.mp4"  # of a live process that writes beside the run
    others.touch()
    runs["architecture"](tmp_path)
    assert [path.name for path in checkpoints.iterdir()] == ["step-00000001"]
    assert others.exists()


def test_why_a_run_failed_is_told_where_its_folder_is_gone_too(tmp_path: Path) -> None:
    def fail() -> None:
        with run_folder(tmp_path / "run", "model"):
            shutil.rmtree(tmp_path / "run")
            raise TrainingError("diverged")

    with pytest.raises(TrainingError, match="diverged"):
        fail()


@pytest.mark.parametrize("kind", ["supernet", "architecture", "classifier"])
def test_files_in_the_place_of_a_result_are_seen_before_the_first_step(
    tmp_path: Path, runs: dict[str, Run], kind: str
) -> None:
    made = tmp_path / {"architecture": "model"}.get(kind, kind)
    made.mkdir()
    (made / "mine").touch()
    with pytest.raises(StorageError, match="holds files that nas has not marked as its own, such as 'mine'"):
        runs[kind](tmp_path)
    assert not (tmp_path / "checkpoints").exists()
