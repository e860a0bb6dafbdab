"""`nas profile` and `nas latency` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from nas.cli import latency as latency_verb
from nas.cli import profile as profile_verb
from nas.errors import NasError
from nas.latency import LatencyPredictor, LatencyTable
from nas.space import SearchSpace

app = typer.Typer()
app.command("profile")(profile_verb.profile)
app.add_typer(latency_verb.app, name="latency")


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def profiled(space_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "here.csv"
    result = run("profile", space_file, "--runtime", "torch", "--table", path, "--rounds", 3, "--min-seconds", 0)
    assert "blocks measured on" in result.stdout
    return path


def test_predict_and_check_what_was_profiled(space_file: Path, profiled: Path, tmp_path: Path) -> None:
    space, table = SearchSpace.load(space_file), LatencyTable.load(profiled)
    predictor = LatencyPredictor(space, table)

    report = json.loads(run("latency", "predict", space_file, "--table", profiled, "--json").stdout)
    by_name = {row["name"]: row for row in report["architectures"]}
    assert by_name["fastest"]["pipeline_ms"] == predictor.bounds()[0]
    assert by_name["slowest"]["pipeline_ms"] == predictor.bounds()[1]
    assert by_name["smallest"]["blocks"] == "measured"

    chosen = space.architecture([slot.candidates[-1] for slot in space.slots])
    chosen.save(tmp_path / "chosen.yaml")
    arguments = ("--architecture", tmp_path / "chosen.yaml", "--steps", 8, "--json")
    (row,) = json.loads(run("latency", "predict", space_file, "--table", profiled, *arguments).stdout)["architectures"]
    assert row["architecture"] == chosen.id
    assert row["pipeline_ms"] == LatencyPredictor(space, table, 8).predict(chosen).pipeline_ms

    arguments = ("--networks", 3, "--rounds", 3, "--json")
    report = json.loads(run("latency", "check", space_file, "--table", profiled, *arguments).stdout)
    assert len({row["architecture"] for row in report["networks"]}) == 3
    assert report["mape_percent"] >= 0


def test_tables_for_people_name_device_and_runtime(space_file: Path, profiled: Path) -> None:
    shown = " ".join(run("latency", "predict", space_file, "--table", profiled).stdout.split())
    assert "torch, 4 steps" in shown
    assert "fastest" in shown
    assert "Summary" in run("latency", "check", space_file, "--table", profiled, "--networks", 1, "--rounds", 3).stdout


def test_networks_to_check_are_all_different_and_no_more_than_there_are(space: SearchSpace) -> None:
    assert set(latency_verb.some_architectures(space, 99, seed=0)) == set(space.enumerate())
    assert latency_verb.some_architectures(space, 5, seed=0) == latency_verb.some_architectures(space, 5, seed=0)
    assert latency_verb.some_architectures(space, 5, seed=0) != latency_verb.some_architectures(space, 5, seed=1)


def test_a_mistake_is_a_nas_error(space_file: Path, tmp_path: Path) -> None:
    with pytest.raises(NasError, match="unknown runtime 'tvm'"):
        run("profile", space_file, "--runtime", "tvm", "--table", tmp_path / "table.csv")
    with pytest.raises(NasError, match="no such latency table"):
        run("latency", "predict", space_file, "--table", tmp_path / "table.csv")
