"""The whole job in real processes: uninterrupted, again, and killed in the middle of each stage."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import onnx
import optuna
import pytest
import yaml
from scipy.stats import kendalltau

from nas.files import hold, lock
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.models import VideoModel
from nas.pipeline import load_run, run_stages
from nas.pipeline.folder import STUDY
from nas.pipeline.stages import Stages
from nas.pipeline.summary import run_sections
from tests.processes import finish, start, start_nas
from tests.tiny import SMALLER

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
    "export": {"formats": ["safetensors", "onnx"], "options": {"opset": 21}},
    "generate": {"training_count": 1, "count": 2},
}


ROWS = "rows.json"
"""What the finished run has printed, beside its file."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that has ended; all workers share the run, and leave it as it is."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished-run"
    folder.mkdir(exist_ok=True)
    with lock(folder / ".lock", wait=True):
        if not (folder / ROWS).is_file():
            (folder / "space.yaml").write_text(yaml.safe_dump(SMALLER))
            (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
            printed = finish(start_nas(folder, "run", folder / "run.yaml", "--json"), folder)
            (folder / ROWS).write_text(printed)
    return folder / "run.yaml"


def _copy(finished: Path, folder: Path) -> Path:
    shutil.copytree(finished.parent, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock"))
    return folder / "run.yaml"


def _forget(run_file: Path, stages: list[str]) -> None:
    """Take away what these stages have made, as if they had not begun."""
    out = run_file.parent / "out"
    for stage in stages:
        (out / "stages" / f"{stage}.json").unlink()
        shutil.rmtree(out / stage)


def run_through(run_file: Path, last: str) -> None:
    """Run the stages up to one of them; those before it are done."""
    config, space = load_run(run_file)
    out = run_file.parent / "out"
    stages = Stages(config, space, run_file.parent, out).all()
    with hold(out):
        run_stages(stages[: STAGES.index(last) + 1], out, lambda line: None)


def _kill_in(run_file: Path, stage: str) -> None:
    """Start the run, and SIGKILL it as soon as it is inside `stage`."""
    process = start(run_file.parent, run_through, run_file, stage)
    marker = run_file.parent / "out" / "stages" / f"{stage}.json"
    deadline = time.monotonic() + 120
    while not marker.is_file() and process.is_alive() and time.monotonic() < deadline:
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
    counts = f"{len(scored)} architectures were scored, and {len(again)} of them were scored again"
    assert f"{counts}; the front has {members} " in report
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


def test_a_run_ends_with_all_it_promises(finished: Path) -> None:
    rows = json.loads((finished.parent / ROWS).read_text())
    out = finished.parent / "out"
    assert [row["stage"] for row in rows] == STAGES
    assert {row["this run"] for row in rows} == {"done"}
    for name in ("profile/table.csv", "train/metrics.csv", "search/study.db", "front/front.png", "front/front.svg"):
        assert (out / name).stat().st_size > 0, name
    for name in ("check/check.png", "export/bundle/onnx/unet.onnx", "summary/summary.html", "config.yaml"):
        assert (out / name).stat().st_size > 0, name
    clips = [path.name.split(".", 1)[1] for path in (out / "samples").glob("*.mp4")]
    made_by = ("teacher", "teacher_in_few_steps", "real")
    assert sorted(clips) == sorted(3 * ["mp4", *(f"{name}.mp4" for name in made_by)])
    page = (out / "summary" / "summary.html").read_text()
    data = json.loads(page.partition('id="report-data">')[2].partition("</script>")[0])
    assert data["missing"] == []
    assert len(data["front"]["points"]) == 5
    assert [len(row["clips"]) for row in data["clips"]] == [4, 4, 4]
    report = (out / "summary" / "summary.md").read_text()
    assert (report.count("Caption of a training clip: "), report.count("Caption of a held-out clip: ")) == (2, 4)
    (opset,) = onnx.load(out / "export" / "bundle" / "onnx" / "unet.onnx", load_external_data=False).opset_import
    assert opset.version == 21
    model = VideoModel.load(out / "export" / "bundle")
    assert model.generation.steps == 2
    assert model.generation.guidance_scale == 1
    _check_agreement(out)


def test_a_second_run_redoes_nothing(finished: Path, tmp_path: Path) -> None:
    run_file = _copy(finished, tmp_path)
    own = {"config.yaml", ".lock"}  # written by every run
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name not in own]
    before = {path: path.stat().st_mtime_ns for path in files}
    rows = json.loads(finish(start_nas(tmp_path, "run", run_file, "--json"), tmp_path))
    assert {row["this run"] for row in rows} == {"skipped"}
    after = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name not in own]
    assert before == {path: path.stat().st_mtime_ns for path in after}


SAME = {
    "backbone": "model/unet.safetensors",
    "train": "supernet/supernet.safetensors",
    "rescore": "rescored.json",
    "front": "front.json",
    "distill": "model/unet.safetensors",
}
"""Files of stages that are the same in every run."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_in_the_middle_of_a_stage_ends_as_if_it_had_not_been(
    finished: Path, tmp_path: Path, stage: str
) -> None:
    run_file = _copy(finished, tmp_path)
    out = tmp_path / "out"
    _forget(run_file, STAGES[STAGES.index(stage) :])
    _kill_in(run_file, stage)
    run_through(run_file, stage)
    whole, resumed = (
        json.loads((root / "stages" / f"{stage}.json").read_text()) for root in (finished.parent / "out", out)
    )
    assert resumed["done"]
    assert (resumed["digest"], resumed["files"]) == (whole["digest"], whole["files"])
    assert all((out / stage / name).exists() for name in resumed["files"])
    assert not list(out.rglob(".nas-tmp-*"))
    if stage in SAME:
        assert (out / stage / SAME[stage]).read_bytes() == (finished.parent / "out" / stage / SAME[stage]).read_bytes()


def test_a_run_searches_for_this_machine_and_a_phone(finished: Path, tmp_path: Path) -> None:
    """A finished run whose file is given the table of a phone, on which everything takes twice as long."""
    run_file = _copy(finished, tmp_path)
    here = LatencyTable.load(tmp_path / "out" / "profile" / "table.csv")
    rows = [
        LatencyRow(key=row.key, kind=row.kind, latency_ms=2 * (row.latency_ms or 0), provenance="published")
        for row in here.rows.values()
    ]
    LatencyTable(TableMetadata(device="a phone", runtime="coreml")).add(rows).save(tmp_path / "phone.csv")
    budgets = {"latency_ms": {"a phone": 1e5, here.metadata.device: 1e6}}
    search = RUN["search"] | {"tables": ["phone.csv"], "latency": "worst", "budgets": budgets}
    pick = {"latency_budget_ms": {"a phone": 1e5}}
    run_file.write_text(yaml.safe_dump(RUN | {"search": search, "pick": pick}))

    run_through(run_file, "front")
    out = tmp_path / "out"
    assert (out / "replaced" / "search-1").is_dir()
    assert not (out / "replaced" / "train-1").exists()
    chosen = json.loads((out / "stages" / "front.json").read_text())
    assert chosen["headline"].count(" blocks)") == 2
    for member in chosen["values"]["members"]:
        latencies = {name: each["latency_ms"] for name, each in member["devices"].items()}
        assert latencies.keys() == budgets["latency_ms"].keys()
        assert member["share"] == max(latencies[name] / limit for name, limit in budgets["latency_ms"].items())
        assert member["devices"]["a phone"]["provenance"] == "published"
        assert member["devices"][here.metadata.device]["provenance"] == "measured"
    report = run_sections(out, [])[0]
    assert "ms on a phone (published blocks)" in report.text
    assert {"a phone, predicted, ms", f"{here.metadata.device}, predicted, ms"} < report.rows[0].keys()
