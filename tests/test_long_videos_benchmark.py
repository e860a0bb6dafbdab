"""The benchmark of long videos, on short ones, in this process."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "long_videos.py"


@pytest.mark.slow
def test_it_reads_all_clips_of_a_folder_and_of_tars(tmp_path: Path) -> None:
    benchmark = runpy.run_path(str(BENCHMARK))
    benchmark["make_folder"](tmp_path, 0.2)  # 12 s, and two of 3 s in a tar
    rows = [benchmark["_measured"](name, tmp_path) for name in benchmark["TASKS"]]
    assert [row["clips"] for row in rows] == [12, 6, 4, 6]
