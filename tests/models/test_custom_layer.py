"""A layer that another package brings in one file: found by name, checked, counted and trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from nas.cli import app
from nas.models.temporal import layer_class
from nas.models.weights import load_safetensors
from nas.space import SearchSpace, json_schema
from nas.testing import TemporalLayerConformance
from tests.extensions import install
from tests.tiny import TINY

SPACE = TINY | {
    "layers": {"shift": {"kind": "temporal_shift", "fraction": 4}},
    "slots": [{"stage": "mid", "candidates": ["none", "shift", "temporal_shift"]}],
}


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("custom_layer", tmp_path / "site", monkeypatch)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return _written(tmp_path, SPACE)


def _written(folder: Path, value: dict[str, Any]) -> Path:
    (folder / "space.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    return folder / "space.yaml"


def _nas(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class TestTemporalShift(TemporalLayerConformance):
    layer = "temporal_shift"
    config = {"fraction": 4}


def test_a_frame_reads_its_neighbours_and_no_other() -> None:
    kind = layer_class("temporal_shift")
    layer = kind(kind.Config(), (1, 5, 16, 2, 2), None)
    torch.nn.init.ones_(layer.mix.weight)
    x_BTCHW = torch.randn(1, 5, 16, 2, 2)
    changed_BTCHW = x_BTCHW.clone()
    changed_BTCHW[:, 2] += torch.randn(16, 2, 2)
    differs = (layer(x_BTCHW) != layer(changed_BTCHW)).flatten(2).any(dim=2)
    assert differs.tolist() == [[False, True, True, True, False]]


def test_a_search_space_holds_it_with_its_options(space: Path) -> None:
    done = _nas("space", "validate", space)
    assert done.exit_code == 0, done.output
    shown = json.loads(_nas("space", "show", space, "--json").stdout)
    assert shown["layers"]["shift"] == {"kind": "temporal_shift", "fraction": 4}
    assert shown["slots"][0]["candidates"] == {"none": 0, "shift": 304, "temporal_shift": 304}
    keys = [block.key for block in SearchSpace.load(space).placed_blocks().values()]
    assert [key.partition("[")[0] for key in keys] == ["temporal_shift(fraction=4)", "temporal_shift(fraction=8)"]
    assert "fraction" in json.dumps(json_schema())


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"kind": "temporal_shift", "fraction": 5}, "16 channels are not divisible by fraction 5"),
        ({"kind": "temporal_shift", "heads": 2}, "unknown key layers.shift.heads (known: depth, fraction)"),
        ({"kind": "shift"}, "unknown layer 'shift' (known: conv1d, "),
    ],
)
def test_what_it_cannot_be_is_one_line(tmp_path: Path, layers: dict[str, Any], said: str) -> None:
    done = _nas("space", "validate", _written(tmp_path, SPACE | {"layers": {"shift": layers}}))
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_supernet_trains_it(space: Path, tmp_path: Path) -> None:
    short = ("--steps", "1", "--batch-size", "1", "--out", tmp_path / "run")
    done = _nas("train", space, "--data", "moving_shapes", *short)
    assert done.exit_code == 0, done.output
    weights = load_safetensors(tmp_path / "run" / "supernet" / "supernet.safetensors")
    assert weights["mid_block.temporal.0.shift.mix.weight"].shape == (16, 16, 1, 1)
