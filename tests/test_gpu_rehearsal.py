"""The rehearsal for a graphics card runs in miniature, loses nothing, and continues after a part that fails."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_rehearsal, gpu_rehearsal_shapes, gpu_rehearsal_step
from nas.files import read_json
from nas.models.costs import extreme_architectures
from nas.space import SearchSpace

ROOT = Path(__file__).resolve().parents[1]


def _found(out: Path, file: str, part: str) -> Any:
    known = read_json(out / file)[part]
    assert known["state"] == "done", known
    return known["found"]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, names = tmp_path_factory.mktemp("out"), [name for stage in gpu_rehearsal.STAGES for name in stage]
    states = gpu_rehearsal.rehearse(folder, tmp_path_factory.mktemp("work"), "cpu", 40, names)
    assert set(states.values()) == {"done"}, (folder / "log.txt").read_text()
    return folder


@pytest.mark.slow
def test_every_part_says_what_it_is_for(out: Path) -> None:
    assert sorted(file.name for file in out.iterdir()) == [
        "log.txt", "machine.json", "shapes.json", "sheet.png", "step.json", "tests.json",
    ]  # fmt: skip
    assert _found(out, "machine.json", "machine")["bf16_product_tflops"] > 0
    tests = _found(out, "tests.json", "tests")
    assert (tests["exit_code"], tests["failed"]) == (0, {})
    assert tests["passed"] + tests["skipped"] > 20
    step = _found(out, "step.json", "step")
    assert [row["clips"] for row in step["rows"]] == [1, 2, 2]
    assert all(row["clips_per_s"] > 0 and row["planned_bytes"] > 0 for row in step["rows"])
    assert step["compiled"][0]["share_of_macs"] > 0
    assert all(math.isfinite(_found(out, "shapes.json", part)["final_loss"]) for part in ("teacher", "student"))
    quality = _found(out, "shapes.json", "quality")
    assert list(quality["scores"]) == ["student", "teacher", "teacher in 4 steps"]
    assert len(quality["seconds_of_a_clip"]) == 3


@pytest.mark.slow
def test_what_fails_or_takes_too_long_is_recorded_and_the_next_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(gpu_rehearsal.SECONDS, "clips", 0.01)
    states = gpu_rehearsal.rehearse(tmp_path / "out", tmp_path, "cpu", 8, ["clips", "quality", "machine"])
    assert states == {"machine": "done", "clips": "overran", "quality": "failed"}
    known = read_json(tmp_path / "out" / "shapes.json")
    assert "holds no classifier" in known["quality"]["error"][-1]
    assert known["clips"]["may_take_s"] == 0.0


def test_the_largest_is_that_of_the_dry_run() -> None:
    for path in (ROOT / "search_spaces" / "quickstart.yaml", ROOT / "search_spaces" / "snapgen_v.yaml"):
        space = SearchSpace.load(path)
        assert gpu_rehearsal_step.largest(space) == extreme_architectures(space)[1]


@pytest.mark.parametrize("scale", [gpu_rehearsal_shapes.CARD, gpu_rehearsal_shapes.SMALL])
def test_the_architectures_are_of_their_spaces(scale: gpu_rehearsal_shapes.Scale) -> None:
    space = SearchSpace.load(scale.space)
    space.check(space.architecture(list(scale.layers)))
    assert scale.shape().size_TCHW[1] == 3
