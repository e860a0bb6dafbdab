"""Runs that earlier versions began are resumed: their files are read, and their stages keep their digests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nas.files import write_json
from nas.pipeline import load_run
from nas.pipeline.report import run_report
from nas.pipeline.runner import Stage, StageResult
from nas.pipeline.settings import PickStage
from nas.pipeline.stages import Stages
from nas.report import write_report
from nas.search import SearchConfig, run_search
from tests.search.problem import FormulaLatency, FormulaQuality, small_space
from tests.tiny import TINY

TRAINING = {"steps": 6, "batch_size": 2, "image_batch_size": 2, "checkpoint_every": 2}
QUICK = {"rounds": 2, "interval_percent": 1000, "max_seconds": 0, "min_seconds": 0}
RUN: dict[str, Any] = {
    "space": "space.yaml",
    "out": "out",
    "data": {"kind": "moving_shapes", "clips": 40},
    "profile": {"runtime": "torch", "threads": 1, "protocol": QUICK},
    "fit": {"networks": 3, "protocol": QUICK},
    "backbone": {"training": TRAINING},
    "train": TRAINING | {"freeze_backbone": True},
    "quality": {"batches": 3},
    "search": {"evaluations": 5, "sampler": "random", "steps": 2},
    "rescore": {"batches": 2, "finetune_steps": 2, "members": 4},
    "check": {"networks": 2, "protocol": QUICK},
    "distill": {
        "finetune": TRAINING,
        "training": TRAINING,
        "distillation": {"steps": 2, "target": "consistency", "guidance_scale": 2.0, "adversarial": {"weight": 0.1}},
    },
    "export": {"formats": ["safetensors", "onnx"]},
    "generate": {"training_count": 1, "count": 2},
}
"""A run's file as an earlier version read it."""

DIGESTS = {
    "data": "7b5fbad0553cdf35",
    "profile": "bec91cbb7139c105",
    "fit": "8142831bde5c1960",
    "backbone": "529355112c844475",
    "train": "686e4e2fd0b71507",
    "search": "28b51b43265643b4",
    "rescore": "1ebde7b747d12a8e",
    "front": "08a24aa3a76f73fb",
    "check": "e25952269e650d15",
    "distill": "e1403e0c727adff3",
    "export": "91364b09f843b77c",
    "samples": "a9320d2880ff053f",
    "summary": "3c594927f4b55ac9",
}
"""Digests that the earlier version gave to the stages of that run, without those of the results that they need."""


def test_the_stages_of_an_old_run_are_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    config, space = load_run(tmp_path / "run.yaml")
    stages = Stages(config, space, tmp_path, tmp_path / "out").all()
    assert {stage.name: stage.digest([]) for stage in stages} == DIGESTS


def test_a_stage_resumes_with_other_settings_of_its_processes(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    changed = RUN | {"train": RUN["train"] | {"data_workers": 3}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(changed))
    config, space = load_run(tmp_path / "run.yaml")
    assert config.train.data_workers == 3
    stages = Stages(config, space, tmp_path, tmp_path / "out").all()
    assert {stage.name: stage.digest([]) for stage in stages} == DIGESTS


def test_a_run_that_was_finished_without_a_second_scoring_gets_none(tmp_path: Path) -> None:
    """Earlier versions made no second scoring that the file does not mention."""
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({key: RUN[key] for key in RUN if key != "rescore"}))
    assert load_run(tmp_path / "run.yaml")[0].rescore is not None
    (tmp_path / "out" / "stages").mkdir(parents=True)
    marker = {"digest": "d", "done": True}
    write_json(tmp_path / "out" / "stages" / "search.json", marker)
    assert load_run(tmp_path / "run.yaml")[0].rescore is not None
    write_json(tmp_path / "out" / "stages" / "front.json", marker)
    config, space = load_run(tmp_path / "run.yaml")
    assert config.rescore is None
    stages = Stages(config, space, tmp_path, tmp_path / "out").all()
    assert {stage.name: stage.digest([]) for stage in stages} == {
        name: digest for name, digest in DIGESTS.items() if name != "rescore"
    }
    write_json(tmp_path / "out" / "stages" / "rescore.json", marker)
    assert load_run(tmp_path / "run.yaml")[0].rescore is not None


def test_the_choice_by_score_alone_is_another_setting() -> None:
    digests = {exact: Stage("front", [PickStage(exact=exact)], (), _nothing).digest([]) for exact in (False, True)}
    assert digests[False] == DIGESTS["front"] != digests[True]


def test_a_run_of_an_earlier_version_has_a_report_of_what_it_left(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    config = SearchConfig(evaluations=6, sampler="random", steps=4)
    latency = FormulaLatency(space := small_space())
    record = run_search(space, latency, FormulaQuality(), config, tmp_path / "search" / "study.db", "search").record
    member = {key: value for key, value in record.front[0].to_dict().items() if key != "standard_error"}
    noted: dict[str, Any] = {
        "search": {},
        "front": member | {"members": [member]},
        "check": {"networks": [{"architecture": member["id"], "predicted_unet_ms": 1.0, "measured_unet_ms": 1.1}]},
        "export": {"files": [{"file": "onnx/unet.onnx", "size_bytes": 2048, "max_abs_error": 0.0, "parity": "measured",
                              "psnr_db": None}]},
        "samples": {"steps": 4, "clips": [{"prompt": "rain", "file": "gone.mp4", "captions": "given"}]},
    }  # fmt: skip
    for name, values in noted.items():
        write_json(tmp_path / "stages" / f"{name}.json", {"digest": "d", "done": True, "values": values})
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metrics.csv").write_text("step,loss\n1,0.5\n2,broken\n")

    report = run_report(tmp_path)

    assert report.verdict is not None
    assert (report.verdict.id, report.verdict.size_bytes) == (member["id"], {"ONNX": 2048})
    assert len(report.front.points) == 6
    assert [check.measured_ms for check in report.checks] == [1.1]
    assert (report.clips, report.breakdown) == ((), None)
    assert [sentence.split(" (")[0] for sentence in report.missing] == [
        "Not shown: curves of the trainings",
        "Not shown: what the check of latencies says",
    ]
    page = write_report(report, tmp_path / "report.html").read_text()
    assert "Not shown: curves of the trainings" in page


def _nothing(folder: Path) -> StageResult:
    return StageResult("")
