"""Benchmarks run as their first lines say, on a small scale; their figures are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nas.latency import Protocol, profile
from nas.runtimes import get_runtime
from nas.space import SearchSpace
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_latency_accuracy_compares_every_method_on_the_same_networks(tmp_path: Path) -> None:
    slots = [{"stage": stage, "candidates": ["none", "conv1d", "conv3d"]} for stage in ("down.0", "down.1", "mid")]
    space = tmp_path / "tiny.yaml"
    space.write_text(yaml.safe_dump(TINY | {"slots": slots}), encoding="utf-8")
    options = {
        "space": space, "runtime": "torch", "networks": 6, "fitted": 5, "max-seconds": 0.01, "min-seconds": 0,
        "fit-max-seconds": 0.01, "fit-min-seconds": 0,
        "units": "cells,differences,chains", "figures": tmp_path / "figures",
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "benchmarks" / "latency_accuracy.py"), "--json"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"sum of blocks", "MACs regression", "parameters regression", "predictor"} <= report["methods"].keys()
    assert {"cells, scale", "differences, scale", "chains, scale"} <= report["methods"].keys()
    assert len(report["checks"]) == report["networks"] == 6
    errors = [abs(check["error_percent"]) for check in report["checks"]]
    assert report["methods"]["predictor"]["mape"] == pytest.approx(sum(errors) / 600)
    pairs = [check["measurements_ms"] for check in report["checks"]]
    assert report["noise_floor"]["mape"] == pytest.approx(sum(abs(one / two - 1) for one, two in pairs) / 6)
    assert len(list((tmp_path / "figures").iterdir())) == 3


def test_latency_statistics_reads_the_samples_beside_a_table(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    protocol = Protocol(rounds=2, interval_percent=1000, max_seconds=0, min_seconds=1.5)
    space = SearchSpace.load(tmp_path / "tiny.yaml")
    profile(space, get_runtime("torch", threads=1), tmp_path / "table.csv", protocol=protocol)
    command = [sys.executable, str(ROOT / "benchmarks" / "latency_statistics.py"), str(tmp_path / "table.csv")]
    done = subprocess.run([*command, "--seconds", "0.3", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["windows"] >= 3
    assert {"10th percentile", "evened, 25th percentile"} <= report["scatter"].keys()
    assert all(0 < row["median_percent"] <= row["largest_percent"] for row in report["scatter"].values())
