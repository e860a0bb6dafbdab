"""A sampler that another package brings in one file, found through its entry point, keeps the contract."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nas.cli import app
from nas.files import load_yaml
from nas.pipeline.config import RunConfig
from nas.search.samplers.choice import SAMPLERS
from nas.testing import SamplerConformance
from tests.extensions import install

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install("custom_sampler", tmp_path / "site", monkeypatch)


class TestLocalSearch(SamplerConformance):
    sampler = "local"
    options = {"slots": 2}


def test_the_command_line_searches_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "local" in SAMPLERS.names()
    (tmp_path / "my_metric.py").write_text(
        "def layers(architecture):\n    return sum(name == 'none' for name in architecture.choices)\n"
    )
    monkeypatch.chdir(tmp_path)
    command = ["search", f"{ROOT}/search_spaces/quickstart.yaml",
               "--table", f"{ROOT}/latency_tables/quickstart-amd_epyc-onnxruntime.csv",
               "--quality", "my_metric:layers", "--direction", "minimize", "--study", "s", "--evaluations", "20",
               "--sampler", "local", "--json"]  # fmt: skip

    ended = CliRunner().invoke(app, [*command, "--sampler-option", "slots=2"], catch_exceptions=False)

    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["scored"] == 20


def test_the_file_of_a_run_takes_it(tmp_path: Path) -> None:
    text = (
        "space: s.yaml\nout: runs\ndata: {kind: moving_shapes}\nsearch: {sampler: local, sampler_options: {slots: 3}}\n"
    )
    (tmp_path / "run.yaml").write_text(text)

    assert load_yaml(tmp_path / "run.yaml", RunConfig).search.sampler_options == {"slots": 3}
