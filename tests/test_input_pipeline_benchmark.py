"""The benchmark of the input pipeline, on a few small clips."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "input_pipeline.py"


@pytest.mark.slow
def test_it_compares_three_ways_for_three_kinds_of_clips(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--clips", "8", "--side", "16", "--batch", "2", "--steps", "3", "--step-ms", "5"]
    monkeypatch.setattr(sys, "argv", ["input_pipeline.py", *arguments, "--folder", str(tmp_path), "--json"])
    runpy.run_path(str(BENCHMARK), run_name="__main__")
    rows = json.loads(capsys.readouterr().out)
    assert [row["clips"] for row in rows] == ["folder of videos", "tars", "stored latents"]
    for row in rows:
        assert row["batch_ms"] > 0
        shares = [float(value.rstrip("%")) for name, value in row.items() if name.startswith("waiting")]
        assert len(shares) == 3
        assert all(0 <= share <= 100 for share in shares)
    assert not list(tmp_path.iterdir())
