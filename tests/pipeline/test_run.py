"""The whole job in real processes: uninterrupted, again, and killed in the middle of every stage."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import yaml
from scipy.stats import kendalltau

from nas.data import ClipShape, MovingShapesConfig, open_data
from nas.models import VideoModel
from nas.models.weights import load_safetensors
from nas.pipeline import load_run
from nas.pipeline.folder import STUDY
from nas.training import train_supernet
from tests.processes import finish, start_nas
from tests.tiny import TINY

pytestmark = pytest.mark.slow

STAGES = ["data", "profile", "fit", "backbone", "train", "search", "rescore", "front", "check", "distill", "export"]
STAGES += ["samples", "summary"]
TRAINING = {"steps": 6, "batch_size": 2, "image_batch_size": 2, "checkpoint_every": 2}
QUICK = {"rounds": 2, "interval_percent": 1000, "max_seconds": 0, "min_seconds": 0}
RUN: dict[str, Any] = {
    "space": "space.yaml",
    "out": "out",
    "data": {"kind": "moving_shapes", "clips": 40},
    "profile": {"runtime": "torch", "measurement": QUICK},
    "fit": {"networks": 3, "measurement": QUICK},
    "backbone": {"training": TRAINING},
    "train": TRAINING | {"freeze_backbone": True},
    "quality": {"batches": 3},
    "search": {"evaluations": 5, "sampler": "random", "steps": 2},
    "rescore": {"batches": 2, "finetune_steps": 2, "members": 4},
    "check": {"networks": 2, "measurement": QUICK},
    "distill": {
        "finetune": TRAINING,
        "training": TRAINING,
        "distillation": {"steps": 2, "teacher_substeps": 1, "guidance_scale": 2.0},
    },
    "export": {"formats": ["safetensors", "onnx"]},
    "generate": {"training_count": 1, "count": 2},
}


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(RUN))
    return path


def _finish(run_file: Path) -> list[dict[str, Any]]:
    process = start_nas(run_file.parent, "run", run_file, "--json")
    rows: list[dict[str, Any]] = json.loads(finish(process, run_file.parent))
    return rows


def _marker(run_file: Path, stage: str) -> dict[str, Any] | None:
    path = run_file.parent / "out" / "stages" / f"{stage}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _kill_in(run_file: Path, stage: str) -> None:
    """Start the run, and SIGKILL it as soon as it is inside `stage`."""
    process = start_nas(run_file.parent, "run", run_file, "--json")
    deadline = time.monotonic() + 120
    while _marker(run_file, stage) is None and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.15)
    process.kill()
    process.join()


def _check_agreement(out: Path) -> None:
    """The report says how far the scores of both stages agree with themselves, as counted from the storage."""
    study = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{out}/search/study.db")
    scored = [trial.user_attrs["quality_parts"] for trial in study.trials if "quality_parts" in trial.user_attrs]
    again = [value["parts"] for name, value in study.user_attrs.items() if name.startswith("rescored/")]
    members = len(json.loads((out / "front" / "front.json").read_text()))
    report = (out / "summary" / "summary.md").read_text()
    counts = f"{len(scored)} architectures were scored, and {len(again)} of them again; the front has {members} of them"
    assert counts in report
    halves = [(parts[0] + parts[2]) / 2 for parts in scored], [parts[1] for parts in scored]
    for stage, parts, tau in (
        ("In the search", 3, kendalltau(*halves).statistic),
        ("In the second scoring", 2, kendalltau(*zip(*again, strict=True)).statistic),
    ):
        count = len(scored) if parts == 3 else len(again)
        assert (
            f"{stage}, two halves of the held-out probes, {parts} parts in all, rank {count} architectures at a "
            f"Kendall tau of {tau:.2f}."
        ) in report


def test_a_run_ends_with_all_it_promises_and_a_second_one_redoes_nothing(run_file: Path) -> None:
    rows = _finish(run_file)
    out = run_file.parent / "out"
    assert [row["stage"] for row in rows] == STAGES
    assert {row["this run"] for row in rows} == {"done"}
    for name in ("profile/table.csv", "train/metrics.csv", "search/study.db", "front/front.png", "front/front.svg"):
        assert (out / name).stat().st_size > 0, name
    for name in ("check/check.png", "export/bundle/onnx/unet.onnx", "summary/summary.html", "config.yaml"):
        assert (out / name).stat().st_size > 0, name
    assert len(list((out / "samples").glob("*.mp4"))) == 3
    report = (out / "summary" / "summary.md").read_text()
    assert (report.count("Caption of a training clip: "), report.count("Caption of a held-out clip: ")) == (2, 4)
    model = VideoModel.load(out / "export" / "bundle")
    assert model.generation.steps == 2
    assert model.generation.guidance_scale == 1
    _check_agreement(out)
    own = {"config.yaml", ".lock"}  # written by every run
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name not in own}
    again = _finish(run_file)
    assert {row["this run"] for row in again} == {"skipped"}
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name not in own}
    assert before == after


def test_a_run_killed_in_the_middle_of_every_stage_ends_as_if_it_had_not_been(run_file: Path) -> None:
    for stage in STAGES:
        _kill_in(run_file, stage)
    rows = _finish(run_file)
    assert [row["stage"] for row in rows] == STAGES
    out = run_file.parent / "out"
    config, space = load_run(run_file)
    clips = open_data(MovingShapesConfig(kind="moving_shapes", clips=40), ClipShape(4, 16, 16, 8), base=".")
    train_supernet(space, clips.train, config.train, run_file.parent / "alone", backbone=out / "backbone" / "model")
    alone, resumed = (
        load_safetensors(folder / "supernet" / "supernet.safetensors")
        for folder in (run_file.parent / "alone", out / "train")
    )
    assert all(torch.equal(alone[name], resumed[name]) for name in alone)
    assert not list(out.rglob(".nas-tmp-*"))
    assert VideoModel.load(out / "export" / "bundle").architecture.id
