"""With what each command works, which files it reads, and what these are checked against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

Arguments = Mapping[str, Any]

_QUICK: Arguments = {"rounds": "1", "max_seconds": "0", "min_seconds": "0"}
_STUDY: Arguments = {"study": "s", "storage": "w/study.db"}
_FUNCTION: Arguments = {"quality": "tests.fuzzing.world:score"}

BASES: dict[str, Arguments] = {
    "devices": {},
    "profile": {"space": "w/space.yaml", "table": "o/t.csv", "runtime": "torch", "threads": "1", **_QUICK},
    "train": {"space": "w/space.yaml", "data": "w/data.yaml", "out": "o/run", "steps": "1", "batch_size": "2"},
    "search": {"space": "w/space.yaml", "table": "w/table.csv", "evaluations": "2", "study": "t",
               "storage": "o/t.db", **_FUNCTION},
    "rescore": {"space": "w/space.yaml", **_STUDY, **_FUNCTION},
    "front": _STUDY,
    "plot": {**_STUDY, "out": "o/front.png"},
    "pick": {**_STUDY, "out": "o/picked.yaml", "knee": True},
    "report": {"source": "w/study.db", "study": "s", "out": "o/report.html"},
    "attach": {"source": "w/study.db", "study": "s", "supernet": "w/run", "prompt": "a red circle", "steps": "1",
               "artifact_dir": "o/artifacts"},
    "distill": {"space": "w/space.yaml", "data": "w/data.yaml", "out": "o/run", "model": "w/alone/model",
                "train_steps": "1", "batch_size": "2", "target": "data"},
    "generate": {"model": "w/distilled/model", "prompt": "a red circle", "out": "o/clip.mp4", "steps": "1"},
    "compare": {"student": "w/distilled/model", "teacher": "w/alone/model", "prompt": "a red circle", "out": "o/s.png"},
    "classifier": {"space": "w/space.yaml", "out": "o/classifier", "steps": "1"},
    "score": {"model": "w/distilled/model", "classifier": "w/classifier/classifier", "count": "2", "steps": "1"},
    "export": {"model": "w/distilled/model", "out": "o/bundle", "formats": "safetensors"},
    "bundle show": {"bundle": "w/bundle"},
    "bundle schema": {},
    "run": {"config": "w/run.yaml"},
    "space show": {"space": "w/space.yaml"},
    "space validate": {"spaces": "w/space.yaml"},
    "space sample": {"space": "w/space.yaml", "count": "2"},
    "space schema": {},
    "latency show": {"table": "w/table.csv"},
    "latency job": {"space": "w/space.yaml", "table": "w/table.csv", "runtime": "torch", "threads": "1"},
    "latency diff": {"first": "w/table.csv", "second": "w/table.csv"},
    "latency merge": {"tables": "w/table.csv", "out": "o/merged.csv"},
    "latency estimate": {"space": "w/space.yaml", "device": "iphone-15-pro", "table": "o/estimate.csv"},
    "latency fit": {"space": "w/space.yaml", "table": "w/table.csv", "networks": "3", **_QUICK},
    "latency check": {"space": "w/space.yaml", "table": "w/table.csv", "networks": "1", **_QUICK},
    "latency predict": {"space": "w/space.yaml", "table": "w/table.csv", "architecture": "w/architecture.yaml"},
    "data show": {"space": "w/space.yaml", "data": "w/data.yaml"},
    "data sample": {"space": "w/space.yaml", "data": "w/data.yaml", "out": "o/clips", "count": "1"},
    "data encode": {"space": "w/space.yaml", "data": "w/data.yaml", "out": "o/latents"},
}  # fmt: skip
"""For each command, arguments with which it works, and does little."""

EXPENSIVE = frozenset({"attach", "train", "distill", "run", "profile", "classifier", "latency fit", "latency check",
                       "latency estimate", "score"})  # fmt: skip
"""Commands that take a second or more where they find nothing wrong."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        path: Where it lies.
        models: What it is checked against, for the keys there are; none for a file without keys.
        readers: Commands that read it, with what they are given beside their base.
    """

    path: str
    models: Callable[[], Sequence[type[pydantic.BaseModel]]]
    readers: Sequence[tuple[str, Arguments]]


def kinds() -> dict[str, Kind]:
    """Every kind of file that commands read."""
    from nas.data import DataFile
    from nas.latency.prediction.fit import LatencyFit
    from nas.latency.tables.metadata import TableMetadata
    from nas.models.temporal.attention_1d import SelfAttention1D
    from nas.models.temporal.convolution import Conv1D
    from nas.models.video_model import Generation
    from nas.pipeline.config import RunConfig
    from nas.quality.clips.classifier import ClassifierRecord
    from nas.space.architecture import _ArchitectureFile
    from nas.space.schema import SpaceFile
    from nas.training import DistillationSettings, SuperNetConfig

    alone = {"architecture": "w/architecture.yaml"}
    dry = {"dry_run": True}
    return {
        "space": Kind("w/space.yaml", lambda: [SpaceFile], [
            ("space show", {}), ("space sample", {}), ("train", dry), ("latency estimate", {}), ("profile", dry),
            ("data show", {"data": "w/videos"}), ("train", {}),
        ]),
        "layer": Kind("w/space.yaml", lambda: [Conv1D.Config, SelfAttention1D.Config], [
            ("space show", {}), ("train", dry),
        ]),
        "architecture": Kind("w/architecture.yaml", lambda: [_ArchitectureFile], [
            ("space show", alone), ("train", alone | dry), ("latency predict", {}),
        ]),
        "training": Kind("w/training.yaml", lambda: [SuperNetConfig], [
            ("train", {"config": "w/training.yaml"} | dry), ("train", {"config": "w/training.yaml"}),
        ]),
        "distillation": Kind("w/distillation.yaml", lambda: [DistillationSettings], [
            ("distill", {"config": "w/distillation.yaml", "model": None} | alone | dry),
            ("distill", {"config": "w/distillation.yaml"}),
        ]),
        "data": Kind("w/data.yaml", lambda: [DataFile], [("data show", {}), ("data sample", {}), ("data encode", {})]),
        "run": Kind("w/run.yaml", lambda: [RunConfig], [("run", {})]),
        "table metadata": Kind("w/table.json", lambda: [TableMetadata], [
            ("latency show", {}), ("latency job", {}), ("latency predict", {}), ("latency merge", {}), ("search", {}),
        ]),
        "fit": Kind("w/table.tiny.fit.json", lambda: [LatencyFit], [("latency predict", {}), ("search", {})]),
        "model": Kind("w/distilled/model/config.yaml", lambda: [Generation], [("generate", {}), ("export", {})]),
        "classifier": Kind("w/classifier/classifier/classifier.yaml", lambda: [ClassifierRecord], [("score", {})]),
    }  # fmt: skip


RAW: dict[str, tuple[str, Arguments]] = {
    "w/space.yaml": ("space show", {}),
    "w/architecture.yaml": ("latency predict", {}),
    "w/training.yaml": ("train", {"config": "w/training.yaml", "dry_run": True}),
    "w/data.yaml": ("data show", {}),
    "w/run.yaml": ("run", {}),
    "w/table.csv": ("latency show", {}),
    "w/table.json": ("latency show", {}),
    "w/table.samples.jsonl": ("latency merge", {}),
    "w/table.tiny.fit.json": ("latency predict", {}),
    "w/study.db": ("front", {}),
    "w/videos/captions.csv": ("data show", {"data": "w/videos"}),
    "w/videos/0.mp4": ("data show", {"data": "w/videos"}),
    "w/tars/000.tar": ("data show", {"data": "w/tars"}),
    "w/latents/index.json": ("data show", {"data": "w/latents"}),
    "w/distilled/model/config.yaml": ("generate", {}),
    "w/distilled/model/space.yaml": ("generate", {}),
    "w/distilled/model/architecture.yaml": ("generate", {}),
    "w/bundle/manifest.json": ("bundle show", {}),
    "w/classifier/classifier/classifier.yaml": ("score", {}),
}
"""Files that bytes are put into, or taken from, and a command that reads each."""
