"""A quality metric that another package brings in one file: found by name, checked, and used by the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from nas.cli import app
from nas.errors import ConfigError
from nas.files import load_yaml
from nas.models import network_cost
from nas.models.model_folders import SUPERNET_WEIGHTS
from nas.pipeline import load_run
from nas.pipeline.metrics import QualityStage, RescoreStage
from nas.pipeline.stages import Stages
from nas.testing import QualityMetricConformance
from nas.training import SearchInputs
from tests.extensions import EXAMPLES, install

SPACE = EXAMPLES.parent / "search_spaces" / "quickstart.yaml"
TABLE = EXAMPLES.parent / "latency_tables" / "quickstart-amd_epyc-onnxruntime.csv"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("custom_metric", tmp_path / "site", monkeypatch)


class TestCapacity(QualityMetricConformance):
    metric = "capacity"
    options = {"attention_bonus": 0.2}


def _nas(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _search(folder: Path, *options: str, evaluations: int = 4) -> Result:
    study = ("--study", "s", "--storage", folder / "s.db", "--sampler", "random", "--json")
    return _nas("search", SPACE, "--table", TABLE, "--evaluations", evaluations, *study, *options)


def test_the_commands_score_with_it(tmp_path: Path) -> None:
    done = _search(tmp_path, "--metric", "capacity", "--metric-option", "attention_bonus=0")
    assert done.exit_code == 0, done.exception
    front = json.loads(done.stdout)["front"]
    assert all(10 ** member["quality"] == pytest.approx(member["parameters"]) for member in front)

    again = _search(tmp_path, "--metric", "capacity", "--metric-option", "attention_bonus=0.0")
    assert json.loads(again.stdout)["scored"] == 0
    other = _search(tmp_path, "--metric", "capacity", "--metric-option", "attention_bonus=1")
    assert "another quality content" in str(other.exception)

    options = ("--study", "s", "--storage", tmp_path / "s.db", "--metric", "capacity", "--json")
    rescored = json.loads(_nas("rescore", SPACE, *options).stdout)
    assert rescored["scored"] == len(front)
    assert rescored["quality"] == "capacity"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metric", "size"), "function, capacity)"),
        (("--metric", "capacity", "--metric-option", "bonus=1"), "unknown key bonus (known: attention_bonus)"),
        (("--metric", "capacity", "--metric-option", "attention_bonus=-1"), "attention_bonus: expected at least 0"),
        (("--metric", "capacity", "--metric-option", "attention_bonus"), "--metric-option: expected key=value"),
        (("--metric", "capacity", "--batches", "2"), "unknown key batches"),
        (("--metric", "capacity", "--data", "moving_shapes"), "--data means nothing to the metric capacity"),
    ],
)
def test_what_is_not_known_is_answered_with_what_is(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    said = _search(tmp_path, *options).exception
    assert isinstance(said, ConfigError)
    assert message in str(said)
    assert not (tmp_path / "s.db").exists()


def test_a_supernet_that_it_would_not_use_is_refused(tmp_path: Path) -> None:
    supernet = tmp_path / "supernet"
    supernet.mkdir()
    (supernet / SUPERNET_WEIGHTS).write_bytes(b"")
    said = _search(tmp_path, "--metric", "capacity", "--supernet", str(supernet)).exception
    assert isinstance(said, ConfigError)
    assert "--supernet means nothing to the metric capacity" in str(said)
    assert not (tmp_path / "s.db").exists()


def _run(folder: Path, **stages: object) -> Stages:
    run = {"space": str(SPACE), "out": "out", "data": {"kind": "moving_shapes"}}
    (folder / "run.yaml").write_text(yaml.safe_dump(run | stages))
    config, space = load_run(folder / "run.yaml")
    return Stages(config, space, folder, folder / "out")


def test_a_run_scores_with_it_and_scores_again_with_other_options(tmp_path: Path) -> None:
    def digests(**quality: object) -> list[str]:
        stages = _run(tmp_path, quality=quality, rescore=quality).all()
        return [stage.digest([]) for stage in stages if stage.name in {"search", "rescore"}]

    default = digests(metric="capacity")
    assert digests(metric="capacity", attention_bonus=0.1) == default
    assert not set(digests(metric="capacity", attention_bonus=0.2)) & set(default)
    assert not set(digests()) & set(default)

    stages = _run(tmp_path, quality={"metric": "capacity", "attention_bonus": 0.0})
    metric = stages.config.quality.make(SearchInputs(stages.space))
    smallest = stages.space.smallest()
    assert 10 ** metric.score(smallest) == pytest.approx(network_cost(stages.space.lower(smallest)).parameters)


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        ({"metric": "size"}, "quality: unknown quality metric 'size' (known: flow_loss, "),
        ({"metric": "capacity", "batches": 8}, "quality: unknown key batches (known: attention_bonus)"),
        ({"batchs": 8}, "quality: unknown key batchs (did you mean batches? known: batches, finetune_steps)"),
        ({"metric": ["capacity"]}, "quality.metric: expected a text"),
        ({"options": {"batches": 8}}, "quality: unknown key options"),
    ],
)
def test_a_run_that_names_it_wrongly_ends_in_one_line(tmp_path: Path, quality: object, message: str) -> None:
    with pytest.raises(ConfigError) as said:
        _run(tmp_path, quality=quality)
    assert message in str(said.value)


def test_files_of_earlier_versions_mean_the_flow_loss_and_have_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "quality.yaml").write_text("batches: 8")
    (tmp_path / "rescore.yaml").write_text("{batches: 32, finetune_steps: 25, members: 16, seed: 1}")
    quality = load_yaml(tmp_path / "quality.yaml", QualityStage)
    rescore = load_yaml(tmp_path / "rescore.yaml", RescoreStage)
    assert (quality.metric, quality.options["batches"]) == ("flow_loss", 8)
    assert quality.model_dump() == {"batches": 8}
    assert (rescore.metric, rescore.members) == ("flow_loss", 16)
    assert rescore.model_dump() == {"batches": 32, "finetune_steps": 25, "members": 16, "seed": 1}
    assert (QualityStage().options["batches"], RescoreStage().options["batches"]) == (8, 64)
