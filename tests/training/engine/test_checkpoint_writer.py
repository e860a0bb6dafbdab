"""Checkpoints that are written in the background are those that the run would have waited for."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import StorageError, TrainingError
from nas.files import read_json
from nas.models.weights import load_safetensors
from nas.space import SearchSpace
from nas.training import SuperNetConfig, train_supernet
from nas.training.engine import checkpoint_writer
from nas.training.engine.checkpoint import Progress, RunHistory, save_checkpoint
from nas.training.engine.checkpoint_writer import BackgroundWriter
from tests.training.engine.test_checkpoint import FINGERPRINT, Line, _step

HISTORY = RunHistory({"a": 1}, (0.5,))


def _same(one: Path, other: Path) -> None:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in (name for name in names if name.endswith(".safetensors")):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    states = [read_json(folder / "state.json") | {"elapsed_s": 0} for folder in (one, other)]
    assert states[0] == states[1]


def test_it_holds_the_state_of_its_step_although_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, go_on, write = Line().state(), threading.Event(), checkpoint_writer._write
    monkeypatch.setattr(checkpoint_writer, "_write", lambda *each: (go_on.wait(10), write(*each)))
    writer = BackgroundWriter(tmp_path / "background", state, FINGERPRINT)
    _step(state)
    save_checkpoint(tmp_path / "waited", state, Progress(1, 0.5), FINGERPRINT, HISTORY)
    writer.save(Progress(1, 0.5), HISTORY)
    assert not (tmp_path / "background").exists()
    for _ in range(3):
        _step(state)  # changes weights, moments and averages in their places
    go_on.set()
    writer.wait()
    _same(tmp_path / "waited" / "step-00000001", tmp_path / "background" / "step-00000001")
    writer.close()


def test_a_full_disk_is_raised_at_the_next_checkpoint_and_those_before_stay(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = Line().state()
    writer = BackgroundWriter(small_disk / "checkpoints", state, FINGERPRINT)
    _step(state)
    writer.save(Progress(1, 0.5), HISTORY)
    writer.wait()
    (small_disk / "filler").write_bytes(bytes(2**20 - 2**16))
    state.task.register_buffer("large", torch.ones(2**16))
    writer.save(Progress(2, 0.5), HISTORY)
    with pytest.raises(StorageError, match="free some space"):
        writer.save(Progress(3, 0.5), HISTORY)
    writer.close()
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-00000001"]


def test_what_is_not_finite_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    state = Line().state()
    _step(state)
    with torch.no_grad():
        state.task.line.bias.fill_(torch.nan)  # type: ignore[union-attr]
    with pytest.raises(TrainingError, match="is not finite; training diverged"):
        BackgroundWriter(tmp_path, state, FINGERPRINT).save(Progress(1, 0.5), HISTORY)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_run_is_the_same_and_ends_when_its_checkpoint_is_written(
    space: SearchSpace,
    clips: MovingShapes,
    config: SuperNetConfig,
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = checkpoint_writer._write

    def slowly(root: Path, parts: Any, state: Any) -> None:
        time.sleep(0.2)
        write(root, parts, state)

    monkeypatch.setattr(checkpoint_writer, "_write", slowly)
    train_supernet(space, clips, config.model_copy(update={"background_checkpoints": True}), tmp_path)
    _same(finished_run / "checkpoints" / "step-00000006", tmp_path / "checkpoints" / "step-00000006")
    one, other = (load_safetensors(run / "supernet" / "supernet.safetensors") for run in (finished_run, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)
