"""A space whose blocks take microseconds, and tables of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nas.latency import LatencyRow, LatencyTable, TableMetadata, space_blocks
from nas.space import SearchSpace
from tests.tiny import TINY as BASE

TINY = BASE | {
    "video": {"frames": 2, "height": 8, "width": 8, "fps": 8},
    "codec": {"kind": "space_to_depth", "factor": 2},
    "text": BASE["text"] | {"tokens": 4},
    "prediction": "velocity",
    "slots": [
        {"stage": "down.0", "candidates": ["none", "conv1d", "self_attention_1d"]},
        {"stage": "mid", "candidates": ["none", "conv3d", "cross_attention_1d"]},
        {"stage": "up.1", "candidates": ["conv1d", "separable_conv1d"]},
    ],
}

SMALL = TINY | {
    "backbone": {
        "down_block_types": ["DownBlock2D"],
        "mid_block_type": None,
        "up_block_types": ["UpBlock2D"],
        "block_out_channels": [16],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
    },
    "slots": [{"stage": "down.0", "candidates": ["none", "conv1d"]}],
}
"""Nine blocks, for what converts them all."""


@pytest.fixture
def space_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return path


@pytest.fixture
def space(space_file: Path) -> SearchSpace:
    return SearchSpace.load(space_file)


@pytest.fixture
def table(space: SearchSpace) -> LatencyTable:
    """Estimated latencies, all different and not round, for every block of the space."""
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=0.1 + 0.7 * index / 3, provenance="estimated")
        for index, block in enumerate(space_blocks(space))
    ]
    return LatencyTable(TableMetadata(device="a phone", runtime="torch", threads=1)).add(rows)
