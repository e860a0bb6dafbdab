"""A runtime that another package brings in one file, found through its entry point, keeps the contract."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest
import yaml

from nas.cli import main
from nas.latency import LatencyTable
from nas.latency.prediction.conditions import table_runtime
from nas.runtimes import block_convertible, compare, get_runtime, runtime_names, to_arrays
from nas.space import SearchSpace
from nas.testing import RuntimeConformance
from tests.extensions import install

ROOT = Path(__file__).parents[2]
SPACES = ROOT / "search_spaces"
SMALL = {
    "name": "small",
    "video": {"frames": 2, "height": 8, "width": 8, "fps": 8},
    "codec": {"kind": "space_to_depth", "factor": 4},
    "text": {"kind": "learned", "tokens": 4, "width": 8, "heads": 1, "layers": 1, "vocabulary": 16},
    "backbone": {
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "block_out_channels": [8],
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 8,
        "attention_head_dim": 1,
        "mid_block_type": None,
    },
    "slots": [{"stage": "down.0", "candidates": ["conv1d"]}],
}


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install("custom_runtime", tmp_path_factory.mktemp("site"), monkeypatch)


class TestReferenceRuntime(RuntimeConformance):
    name = "reference"
    options = {"opset": 21}


def test_it_comes_from_the_one_file(installed: Path) -> None:
    assert "reference" in runtime_names()
    module = sys.modules[type(get_runtime("reference")).__module__]
    assert module.__file__ == str(installed / "reference_runtime.py")


@pytest.mark.parametrize("kind", ["resnet", "spatial_transformer", "conv3d"])
def test_blocks_compute_the_same_in_numpy_and_in_onnx_runtime(kind: str, tmp_path: Path) -> None:
    """Two executors that share no code."""
    space = SearchSpace.load(SPACES / "quickstart.yaml")
    plans = (space.lower(architecture) for architecture in space.covering())
    item = block_convertible(next(block for plan in plans for block in plan.blocks if block.kind == kind))
    path, arrays = tmp_path / "block.onnx", to_arrays(item.inputs)
    get_runtime("reference").convert(item.module, item.inputs, item.names, path)
    outputs = [get_runtime(name).load(path).run(arrays) for name in ("reference", "onnxruntime")]
    assert compare(*outputs).psnr_db > 100


def test_the_command_line_measures_with_an_option_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option decides latencies, so it is recorded, and another value of it needs another table."""
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    path = tmp_path / "table.csv"
    quick = [
        "--rounds",
        "3",
        "--max-seconds",
        "0",
        "--min-seconds",
        "0",
        "--interval-percent",
        "1000",
        "--runtime",
        "reference",
    ]
    command = ["profile", str(tmp_path / "small.yaml"), "--table", str(path), *quick, "--runtime-option"]

    assert _nas(*command, "check_shapes=true", "--runtime-option", "opset=21") == 0

    table = LatencyTable.load(path)
    assert table.metadata.complete
    assert (table.metadata.runtime, table.metadata.opset, table.metadata.options) == (
        "reference",
        "21",
        {"check_shapes": True},
    )
    assert table_runtime(table).settings == table.metadata.settings
    assert "reference, fp32, cpu, check_shapes=True: " in capsys.readouterr().out
    assert _nas(*command, "opset=21") == 2
    assert "options is {'check_shapes': True}, this run has {'check_shapes': False}" in capsys.readouterr().err
    assert _nas(*command, "shapes=true") == 2
    assert "runtime reference has no option 'shapes' (known: opset, check_shapes)" in capsys.readouterr().err
    assert _nas(*command, "opset=21", "--threads", "2") == 2
    assert "runtime reference has no option 'threads'" in capsys.readouterr().err


def _nas(*arguments: str) -> int:
    """The exit code of a command."""
    with mock.patch.object(sys, "argv", ["nas", *arguments]):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0
