"""The benchmarks of training, on networks that train in seconds: they end, and say what they promise."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import distillation_runs, ranking_runs
from nas.space import SearchSpace
from tests.tiny import SMALLER

ROOT = Path(__file__).resolve().parents[1]


Run = Callable[..., Any]


@pytest.fixture
def run_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a benchmark in this process, on few clips at once, and gives what it prints."""
    monkeypatch.setattr(ranking_runs, "BATCHES", 2)
    for name in ("batch_size", "image_batch_size"):
        monkeypatch.setitem(ranking_runs.SETTINGS, name, 2)

    def run(name: str, *arguments: object) -> Any:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), "--json"])
        capsys.readouterr()
        runpy.run_path(str(ROOT / "benchmarks" / name), run_name="__main__")
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(SMALLER), encoding="utf-8")
    return path


@pytest.mark.slow
def test_ranking_compares_supernets_and_proxies_with_separate_trainings(
    run_benchmark: Run, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["--space", tiny, "--architectures", 3, "--steps", 4, "--supernet-factor", 1, "--seeds", 1]
    arguments += ["--workers", 1, "--image-steps", 2]
    kept = ["--out", tmp_path / "out", "--backbone", "tuned", "--strategies", "fair,sandwich"]
    # The second time from what the first has left.
    reports = [run_benchmark("ranking.py", *arguments, *kept) for _ in range(2)]
    assert reports[0] == reports[1]
    rows = reports[0]["agreement"]
    assert list(rows) == ["trained alone, another seed", "fair", "sandwich", "parameters", "MACs", "synflow"]
    assert all(-1 <= row["kendall_tau"] <= 1 for row in rows.values())
    assert len(list(tmp_path.glob("out/*/metrics.csv"))) == 1 + 2 + 2 * 3
    frozen = run_benchmark("ranking.py", *arguments, "--strategies", "fair", "--out", tmp_path / "frozen")
    assert frozen["loss_alone"] != reports[0]["loss_alone"], "a frozen backbone is one that all were given"
    assert reports[0]["loss_alone"]["least"] < reports[0]["loss_alone"]["most"]


def test_architectures_to_rank_have_few_some_and_many_layers() -> None:
    from benchmarks.ranking_runs import spread

    space = SearchSpace.load(ROOT / "search_spaces" / "moving_shapes.yaml")
    chosen = spread(space, 40, seed=0)
    assert len(set(chosen)) == 40
    layers = [sum(name != "none" for name in one.choices) for one in chosen]
    assert {layers.count(number) for number in range(1, 8)} <= {5, 6}
    tiny = SearchSpace.from_dict(SMALLER)
    assert set(spread(tiny, tiny.count(), seed=0)) == set(tiny.enumerate())
    with pytest.raises(ValueError, match="7 architectures asked for, 6 exist"):
        spread(tiny, 7, seed=0)


@pytest.mark.slow
def test_supernet_cost_compares_steps(run_benchmark: Run, tiny: Path) -> None:
    arguments = ["--space", tiny, "--rounds", 3, "--steps", 2, "--batch-size", 8]
    costs = run_benchmark("supernet_cost.py", *arguments)["cost_of_a_step"]
    assert costs["sandwich"]["median"] > 1.5 * costs["uniform"]["median"]


@pytest.mark.slow
def test_winner_compares_what_is_found_with_what_needs_no_search(
    run_benchmark: Run, tiny: Path, tmp_path: Path
) -> None:
    arguments = ["--space", tiny, "--out", tmp_path / "out", "--supernet-steps", 2, "--evaluations", 6, "--steps", 1]
    arguments += ["--image-steps", 2, "--seeds", 1, "--workers", 1, "--seconds", 0.002, "--runtime", "torch"]
    arguments += ["--members", 2, "--finetune-steps", 1]
    report = run_benchmark("winner.py", *arguments)
    rows = {row["design"]: row for row in report["rows"]}
    assert rows["all Conv1D"]["architecture"] == "down.0: conv1d; mid: none"
    assert rows["AnimateDiff's placement"]["architecture"] == "down.0: self_attention_1d; mid: none"
    for search in ("searched", "random search"):
        assert {f"{search}, within all SelfAttention1D", f"{search}, within all Conv1D"} <= rows.keys()
    assert all(row["measured_ms"] > 0 and len(row["losses"]) == 1 for row in report["rows"])


@pytest.mark.slow
def test_distillation_compares_students_with_their_teacher(
    run_benchmark: Run, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation_runs, "TEACHER_STEPS", 8)
    space = SearchSpace.load(tiny)
    space.architecture(["conv1d", "none"]).save(tmp_path / "architecture.yaml")
    arguments = ["--space", tiny, "--architecture", tmp_path / "architecture.yaml", "--out", tmp_path / "out"]
    arguments += ["--teacher-steps", 2, "--classifier-steps", 2, "--steps", 2, "--prompts", 24]
    arguments += ["--methods", "trajectory;adversarial, no re-noising", "--seeds", 1, "--workers", 1]
    report = run_benchmark("distillation.py", *arguments, "--export", "student")
    assert list(report["rows"]) == [
        "teacher", "teacher in 4 steps, no guidance", "trajectory", "adversarial, no re-noising",
    ]  # fmt: skip
    assert all(row["distance"]["value"] > 0 and not row["ended"] for row in report["rows"].values())
    assert all(0 <= row["accuracy"]["value"] <= 1 for row in report["rows"].values())
    assert [row["steps"] for row in report["rows"].values()] == [[], [], [2], [2]]
    seconds = report["seconds"]
    assert seconds["student"]["alone"] < seconds["teacher"]["alone"]
    assert 0 < seconds["student"]["difference"] < 1e-4, "an exported clip is the same clip"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backbone", "random", "--image-steps", "5"], "random weights have none"),
        (["--image-steps", "0"], "at least 1"),
    ],
)
def test_image_steps_that_mean_nothing_are_refused(
    run_benchmark: Run, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        run_benchmark("ranking.py", "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()
