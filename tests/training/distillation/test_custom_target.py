"""A target that another package brings in one file: found by name, checked, and used by the commands."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from nas.cli import app
from nas.errors import ConfigError
from nas.models import VideoModel
from nas.pipeline import load_run
from nas.pipeline.stages import Stages
from nas.testing import DistillationTargetConformance
from nas.training import DistillationConfig
from nas.training.distillation import TARGETS
from tests.extensions import install
from tests.tiny import TINY


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("custom_target", tmp_path / "site", monkeypatch)


@pytest.fixture
def base(tmp_path: Path, teacher: VideoModel) -> Path:
    """A folder with a space and a teacher."""
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "data.yaml").write_text("data: {kind: moving_shapes, clips: 8}")
    teacher.save(tmp_path / "teacher")
    return tmp_path


class TestMotion(DistillationTargetConformance):
    target = "motion"
    options = {"weight": 2.0}


def _distill(base: Path, *options: str) -> Result:
    place = ["--data", str(base / "data.yaml"), "--model", str(base / "teacher"), "--out", str(base / "out")]
    short = ["--train-steps", "1", "--batch-size", "2", "--steps", "1", "--teacher-substeps", "1"]
    return CliRunner().invoke(app, ["distill", str(base / "space.yaml"), *place, *short, *options])


def _first_loss(base: Path, *options: str) -> float:
    """Loss of the first step of a distillation with these options."""
    done = _distill(base, *options)
    assert done.exit_code == 0, done.exception
    with (base / "out" / "metrics.csv").open() as file:
        loss = float(next(csv.DictReader(file))["loss"])
    shutil.rmtree(base / "out")
    return loss


def test_the_commands_distil_to_it_with_options_from_the_command_line_or_a_file(base: Path) -> None:
    settings = {"distillation": {"target": "motion", "target_options": {"weight": 3.0}}}
    (base / "to.yaml").write_text(yaml.safe_dump(settings))
    from_file = _first_loss(base, "--config", str(base / "to.yaml"))
    assert _first_loss(base, "--target", "motion", "--target-option", "weight=3") == from_file
    assert _first_loss(base, "--config", str(base / "to.yaml"), "--target-option", "weight=0") < from_file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "sideways"), "(known: data, trajectory, consistency, distribution_matching, mo"),
        (("--target", "motion", "--target-option", "wait=1"), "unknown key wait (did you mean weight? known: weight)"),
        (("--target", "data", "--target-option", "weight=1"), "target data has no options, got weight"),
        (("--target", "motion", "--target-option", "weight=-1"), "weight: expected at least 0"),
        (("--target-option", "weight"), "--target-option: expected key=value, got 'weight'"),
    ],
)
def test_what_is_not_known_is_answered_with_what_is(base: Path, options: tuple[str, ...], message: str) -> None:
    said = _distill(base, *options).exception
    assert isinstance(said, ConfigError)
    assert message in str(said)


def test_a_run_distils_to_it_and_distils_again_with_other_options(base: Path) -> None:
    def digest(**to: Any) -> str:
        run = {"space": "space.yaml", "out": "out", "data": {"kind": "moving_shapes"}}
        (base / "run.yaml").write_text(yaml.safe_dump(run | {"distill": {"distillation": to}}))
        config, space = load_run(base / "run.yaml")
        stages = {stage.name: stage for stage in Stages(config, space, base, base / "out").all()}
        return stages["distill"].digest([])

    default = digest(target="motion")
    assert digest(target="motion", target_options={"weight": 1.0}) == default
    assert digest(target="motion", target_options={"weight": 2.0}) != default
    assert digest(target="trajectory") != default


def test_settings_that_earlier_versions_wrote_have_the_same_digest() -> None:
    assert "target_options" not in DistillationConfig().model_dump()
    assert TARGETS.names()[:3] == ("data", "trajectory", "consistency")
