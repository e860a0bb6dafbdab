"""The benchmark of the full size runs, on a small one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nas.files import write_yaml
from tests.space.spaces import tiny

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_step_on_a_small_space(tmp_path: Path) -> None:
    channels = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [32]}
    backbone = tiny()["backbone"] | channels | {"mid_block_type": None, "layers_per_block": 1, "attention_head_dim": 4}
    slots = [{"stage": "down.0", "candidates": ["none", "conv1d", "conv3d"]}]
    space = tiny() | {"backbone": backbone, "slots": slots, "layers": {}}
    write_yaml(tmp_path / "space.yaml", space | {"budgets": {"parameters": 10**9}})
    command = [
        sys.executable, ROOT / "benchmarks" / "full_size.py", "--space", tmp_path / "space.yaml", "--json",
        "--out", tmp_path / "out", "--rounds", "1", "--evaluations", "3", "--threads", "1",
    ]  # fmt: skip
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert all(each["peak_memory_bytes"] > 10**8 for each in report.values())
    counted = report["count"]["parameters"]
    assert report["checkpoint"]["parameters"] == counted["smallest"]
    assert report["checkpoint"]["largest_difference"] < 1e-4
    assert (report["search"]["front"], report["search"]["scored"]) == (3, 3)
    assert report["search"]["chosen"]["parameters"] == counted["largest"]
    assert report["profile"]["measured"] == report["profile"]["blocks"] == report["coreml"]["converted"]
    for network in (report["network"], report["coreml"]["network"]):
        assert network["parameters"] == counted["largest"]
    assert report["network"]["predicted_ms"] > 0
