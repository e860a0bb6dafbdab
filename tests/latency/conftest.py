"""A space whose blocks take microseconds, and tables of it: estimated ones, and one that was measured once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from nas.latency import LatencyRow, LatencyTable, MeasurementSettings, TableMetadata, profile, space_blocks
from nas.runtimes import get_runtime
from nas.space import SearchSpace
from tests.tiny import ONE_LEVEL
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
    "backbone": ONE_LEVEL | {"mid_block_type": None},
    "slots": [{"stage": "down.0", "candidates": ["none", "conv1d"]}],
}
"""Nine blocks, for what converts them all."""


QUICK = MeasurementSettings(rounds=3, interval_percent=1000, max_seconds=0, min_seconds=0)


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space and a table of it, measured here; tests do not write into it."""
    root = tmp_path_factory.mktemp("ready")
    (root / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    profile(SearchSpace.load(root / "tiny.yaml"), get_runtime("torch"), root / "here.csv", measurement=QUICK)
    return root


@pytest.fixture
def here(ready: Path, tmp_path: Path) -> Path:
    """A copy of that folder to write into."""
    return Path(shutil.copytree(ready, tmp_path / "here"))


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
