"""The benchmark of the full size runs, on a small one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import full_size
from benchmarks.full_size_steps import STEPS, Settings, measured_step
from nas.files import write_yaml
from tests.space.spaces import tiny


@pytest.mark.slow
def test_every_step_on_a_small_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [32]}
    backbone = tiny()["backbone"] | channels | {"mid_block_type": None, "layers_per_block": 1, "attention_head_dim": 4}
    slots = [{"stage": "down.0", "candidates": ["none", "conv3d"]}]
    space = tiny() | {"backbone": backbone, "slots": slots, "layers": {}}
    write_yaml(tmp_path / "space.yaml", space | {"budgets": {"parameters": 10**9}})
    settings = Settings(tmp_path / "space.yaml", tmp_path, "iphone-16-pro-max", threads=1, rounds=1, evaluations=2)
    report = {name: measured_step(name, settings) for name in STEPS}
    full_size._show(report)
    assert "2 architectures within the budgets" in capsys.readouterr().out
    assert all(each["peak_memory_bytes"] > 10**8 for each in report.values())
    counted = report["count"]["parameters"]
    assert report["checkpoint"]["parameters"] == counted["smallest"]
    assert report["checkpoint"]["largest_difference"] < 1e-4
    assert (report["search"]["front"], report["search"]["scored"]) == (2, 2)
    assert report["search"]["chosen"]["parameters"] == counted["largest"]
    assert report["profile"]["measured"] == report["profile"]["blocks"] == report["coreml"]["converted"]
    for network in (report["network"], report["coreml"]["network"], report["coreai"]):
        assert network["parameters"] == counted["largest"]
    assert report["network"]["predicted_ms"] > 0
    assert report["compressed"]["parameters"] == counted["largest"]
    assert report["compressed"]["size_bytes"] < report["coreml"]["network"]["size_bytes"]
