"""Trackers show what a run has logged; a resumed run continues where the interrupted one was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import ConfigError
from nas.training import LoopConfig
from nas.training.engine import trackers
from nas.training.engine.processes import make_accelerator, processes
from nas.training.engine.trackers import check_trackers, run_log
from tests.tiny import TINY


def _in_two_parts(folder: Path, *names: str) -> None:
    """Log steps 10 to 50. The run is interrupted at 30, and resumes after 20."""
    processes()
    config = LoopConfig(steps=7, trackers=names)  # type: ignore[arg-type]
    folder.mkdir(exist_ok=True)
    for step, value, last in ((0, 0.5, 30), (20, 0.25, 50)):
        with run_log(folder, step, config) as write:
            for at in range(step + 10, last + 1, 10):
                write(at, {"loss": value})


def test_tensorboard_shows_what_was_logged(tmp_path: Path) -> None:
    _in_two_parts(tmp_path, "tensorboard")
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    assert [(each.step, each.value) for each in shown.Scalars("loss")] == [
        (10, 0.5), (20, 0.5), (30, 0.25), (40, 0.25), (50, 0.25),
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "tensorboard"]


def test_without_trackers_there_is_the_table_alone(tmp_path: Path) -> None:
    _in_two_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_mlflow_shows_one_run_of_both_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow: Any = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    _in_two_parts(tmp_path / "run", "mlflow")
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'nas'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params["steps"]) == ("run", "FINISHED", "7")
    assert {each.step for each in client.get_metric_history(run.info.run_id, "loss")} == {10, 20, 30, 40, 50}


def test_wandb_continues_the_run_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    _in_two_parts(tmp_path / "run", "wandb")
    names = {path.name.rpartition("-")[2] for path in (tmp_path / "run" / "wandb").glob("offline-run-*")}
    assert len(names) == 1


def test_trackio_shows_one_run_of_both_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    for module in (utils, __import__("trackio.sqlite_storage").sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio", raising=False)
    _in_two_parts(tmp_path / "run", "trackio")
    (name,) = SQLiteStorage.get_runs("nas")
    assert name.startswith("run-")
    assert {row["step"] for row in SQLiteStorage.get_logs("nas", name)} >= {10, 20, 30, 40, 50}


def test_a_tracker_that_fails_is_given_up_and_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tensorboard").write_text("mine")
    _in_two_parts(tmp_path, "tensorboard")
    assert "tracker tensorboard: " in caplog.text
    assert "training continues without it" in caplog.text
    assert (tmp_path / "tensorboard").read_text() == "mine"
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1 + 5


def test_what_is_not_installed_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = trackers.importlib.util.find_spec
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None if name == "wandb" else found(name))
    complaint = "trackers: wandb is not installed; pip install wandb, or leave it out"
    for check in (check_trackers, lambda names: make_accelerator(LoopConfig(trackers=names))):
        with pytest.raises(ConfigError, match=complaint):
            check(("tensorboard", "wandb"))
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "settings.yaml").write_text("trackers: [wandb]\n")
    arguments = ["train", tmp_path / "space.yaml", "--data", "moving_shapes", "--out", tmp_path / "out"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--config", str(tmp_path / "settings.yaml")])
    assert done.exit_code != 0
    assert complaint in str(done.exception) or complaint in done.output
    assert not (tmp_path / "out").exists()
