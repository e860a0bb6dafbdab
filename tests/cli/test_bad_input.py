"""Every mistake a user can make ends in one line that names it, and in exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.cli import main
from nas.data import ClipShape, MovingShapes, write_mp4
from nas.latency import MeasurementSettings, profile
from nas.runtimes import get_runtime
from nas.space import SearchSpace
from nas.training import SuperNetConfig, train_supernet
from tests.tiny import TINY


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    def fails_with(self, *parts: str) -> None:
        assert self.code == 2, self.err or self.out
        line = [text for text in self.err.splitlines() if text.startswith("error: ")]
        assert len(line) == 1, self.err
        assert "Traceback" not in self.err
        for part in parts:
            assert part in line[0], line[0]


Nas = Callable[..., Result]


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space, its latency table and a trained supernet."""
    root = tmp_path_factory.mktemp("ready")
    (root / "space.yaml").write_text(yaml.safe_dump(TINY))
    space = SearchSpace.load(root / "space.yaml")
    quick = MeasurementSettings(rounds=2, max_seconds=0, min_seconds=0)
    profile(space, get_runtime("torch", threads=1), root / "table.csv", measurement=quick)
    clips = MovingShapes(ClipShape(4, 16, 16, 8), clips=12)
    train_supernet(space, clips, SuperNetConfig(steps=2, batch_size=2, image_batch_size=0), root / "run")
    return root


def _space(root: Path, **changes: Any) -> Path:
    path = root / "changed.yaml"
    path.write_text(yaml.safe_dump(TINY | changes))
    return path


def _unread_model(root: Path) -> Path:
    """A folder that looks like a model's until it is read."""
    (root / "model").mkdir()
    (root / "model" / "unet.safetensors").touch()
    return root / "model"


def test_unknown_key_in_a_space(nas: Nas, tmp_path: Path) -> None:
    nas("space", "show", _space(tmp_path, fps=8)).fails_with("changed.yaml", "unknown key fps")


def test_impossible_slot(nas: Nas, tmp_path: Path) -> None:
    path = _space(tmp_path, slots=[{"stage": "down.7", "candidates": ["none"]}])
    nas("space", "validate", path).fails_with("changed.yaml", "slots[0].stage", "down.7", "down.0")


def test_missing_file(nas: Nas, tmp_path: Path) -> None:
    nas("run", tmp_path / "none.yaml").fails_with("none.yaml", "no such file")


def test_unknown_key_in_a_run(nas: Nas, tmp_path: Path, ready: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"space: {ready}/space.yaml\nout: out\ndata: {{kind: moving_shapes}}\ntrain: {{step: 3}}\n")
    nas("run", path).fails_with("run.yaml", "train.step")
    assert not (tmp_path / "out").exists()


def test_unknown_runtime(nas: Nas, ready: Path, tmp_path: Path) -> None:
    result = nas("profile", ready / "space.yaml", "--runtime", "tensorrt", "--table", tmp_path / "t.csv")
    result.fails_with("tensorrt", "onnxruntime", "torch", "coreml")
    assert not list(tmp_path.iterdir())


def test_empty_folder_of_videos(nas: Nas, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    result = nas("train", ready / "space.yaml", "--data", tmp_path / "clips", "--out", tmp_path / "out")
    result.fails_with(str(tmp_path / "clips"), "captions.csv")
    assert not (tmp_path / "out").exists()


def test_a_damaged_video_among_good_ones_is_skipped_and_counted(nas: Nas, ready: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for index, clip in enumerate(MovingShapes(ClipShape(8, 32, 32, 8), clips=3)):
        write_mp4(clip.video_TCHW, folder / f"{index}.mp4", 8)
    (folder / "bad.mp4").write_bytes(b"not a video at all" * 100)
    rows = [f"{name}.mp4,a caption" for name in ("0", "1", "2", "bad")]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *rows]) + "\n")
    result = nas("data", "show", ready / "space.yaml", "--data", folder, "--json")
    assert result.code == 0, result.err
    assert "bad.mp4" in result.err


def test_no_video_can_be_decoded(nas: Nas, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a video at all" * 100)
    (tmp_path / "captions.csv").write_text("file,caption\nbad.mp4,a caption\n")
    nas("data", "show", ready / "space.yaml", "--data", tmp_path).fails_with(str(tmp_path), "bad.mp4")


def test_corrupt_table(nas: Nas, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("key,latency\nconv,fast\n")
    (tmp_path / "table.json").write_text((ready / "table.json").read_text())
    nas("latency", "predict", ready / "space.yaml", "--table", tmp_path / "table.csv").fails_with("table.csv")


def test_a_block_missing_in_the_table(nas: Nas, ready: Path, tmp_path: Path) -> None:
    wider = _space(tmp_path, backbone=TINY["backbone"] | {"block_out_channels": [16, 32]})
    result = nas("latency", "predict", wider, "--table", ready / "table.csv")
    result.fails_with("no latency for block", "nas profile")


def _search(ready: Path, tmp_path: Path, *more: object, space: Path | None = None) -> list[object]:
    place = ["--supernet", ready / "run", "--data", "moving_shapes", "--storage", tmp_path / "study.db"]
    table = ["--table", ready / "table.csv"]
    return ["search", space or ready / "space.yaml", *table, *place, "--study", "one", "--evaluations", 3, *more]


def test_a_budget_nothing_can_meet(nas: Nas, ready: Path, tmp_path: Path) -> None:
    result = nas(*_search(ready, tmp_path, "--latency-budget-ms", 0.001))
    result.fails_with("0.001 ms", "fastest", "down.1: none; mid: none")


def test_a_supernet_of_another_space(nas: Nas, ready: Path, tmp_path: Path) -> None:
    other = _space(tmp_path, name="other")
    result = nas(*_search(ready, tmp_path, space=other))
    result.fails_with("supernet", "was trained for another search space (tiny)")


def test_not_a_model(nas: Nas, tmp_path: Path) -> None:
    result = nas("generate", tmp_path / "model", "--prompt", "a cat", "--out", tmp_path / "clip.mp4")
    result.fails_with(str(tmp_path), "not a model folder: it does not exist")
    assert not list(tmp_path.iterdir())


def test_a_clip_in_a_format_nobody_writes(nas: Nas, tmp_path: Path) -> None:
    model = _unread_model(tmp_path)
    nas("generate", model, "--prompt", "a cat", "--out", tmp_path / "clip.avi").fails_with("clip.avi", ".mp4")


def test_a_teacher_named_twice_or_not_at_all(nas: Nas, ready: Path, tmp_path: Path) -> None:
    start = ["distill", ready / "space.yaml", "--data", "moving_shapes", "--out", tmp_path / "out"]
    nas(*start).fails_with("--model", "--supernet", "--architecture")
    model = _unread_model(tmp_path)
    nas(*start, "--model", model, "--supernet", ready / "run").fails_with("teacher is not clear")


def test_ways_to_distil_that_do_not_go_together(nas: Nas, ready: Path, tmp_path: Path) -> None:
    start = ["distill", ready / "space.yaml", "--data", "moving_shapes", "--out", tmp_path / "out"]
    nas(*start, "--target", "sideways").fails_with("distillation.target", "sideways", "consistency")
    nas(*start, "--target", "data", "--guidance-scale", 2).fails_with("guidance_scale is only for targets that use the")
    (tmp_path / "to.yaml").write_text("distillation: {adversarial: {strength: 1}}\n")
    nas(*start, "--config", tmp_path / "to.yaml").fails_with("to.yaml", "distillation.adversarial.strength")
    assert not (tmp_path / "out").exists()


def test_clips_to_score_by_need_a_classifier_and_what_was_trained(nas: Nas, ready: Path, tmp_path: Path) -> None:
    start = ["rescore", ready / "space.yaml", "--study", "none"]
    nas(*start, "--sample-metric", "accuracy").fails_with("--sample-metric", "--classifier")
    seen = [*start, "--classifier", tmp_path]
    nas(*seen, "--batches", 3).fails_with("--batches", "not to --classifier")
    nas(*seen, "--data", "moving_shapes").fails_with("--data", "not to --classifier")
    nas(*seen).fails_with(str(tmp_path), "nas classifier")


def test_an_architecture_of_another_space(nas: Nas, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "arch.yaml").write_text("space: other\nlayers: {mid: [none]}\n")
    start = ["train", ready / "space.yaml", "--data", "moving_shapes", "--out", tmp_path / "out"]
    nas(*start, "--architecture", tmp_path / "arch.yaml").fails_with("arch.yaml", "other", "tiny")


def test_a_folder_that_cannot_be_written(nas: Nas, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    start = ["train", ready / "space.yaml", "--data", "moving_shapes", "--steps", 1]
    nas(*start, "--out", tmp_path / "file" / "out").fails_with("cannot write", "file")


def test_options_are_checked_like_files(nas: Nas, ready: Path, tmp_path: Path) -> None:
    (tmp_path / "training.yaml").write_text("steps: many\n")
    start = ["train", ready / "space.yaml", "--data", "moving_shapes", "--out", tmp_path / "out"]
    nas(*start, "--config", tmp_path / "training.yaml").fails_with("training.yaml", "steps", "many")


def test_a_supernet_to_start_from_needs_an_architecture(nas: Nas, ready: Path, tmp_path: Path) -> None:
    start = ["train", ready / "space.yaml", "--data", "moving_shapes", "--out", tmp_path / "out"]
    nas(*start, "--supernet", ready / "run").fails_with("--supernet", "add --architecture")


def test_a_caption_may_hold_what_looks_like_markup(nas: Nas, ready: Path, tmp_path: Path) -> None:
    for index, clip in enumerate(MovingShapes(ClipShape(8, 32, 32, 8), clips=2)):
        write_mp4(clip.video_TCHW, tmp_path / f"{index}.mp4", 8)
    (tmp_path / "captions.csv").write_text("file,caption\n0.mp4,a [red] fox [/b]\n1.mp4,a [red] fox [/b]\n")
    result = nas("data", "show", ready / "space.yaml", "--data", tmp_path)
    assert result.code == 0
    assert "[red]" in result.out
    assert "[/b]" in result.out


def test_a_folder_where_a_file_should_go(nas: Nas, tmp_path: Path) -> None:
    nas("space", "schema", "--out", tmp_path).fails_with(str(tmp_path))


@pytest.mark.parametrize("command", ["train", "distill --model"])
def test_what_accelerate_is_configured_for_is_refused_before_clips_are_opened(
    nas: Nas, ready: Path, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    verb, *more = command.split()
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "captions.csv").write_text("no captions")
    more += [str(_unread_model(tmp_path))] * len(more)
    result = nas(verb, ready / "space.yaml", *more, "--data", tmp_path / "clips", "--out", tmp_path / "run")
    result.fails_with("ACCELERATE_GRADIENT_ACCUMULATION_STEPS is 4, but gradient_accumulation is 1")
    assert not (tmp_path / "run").exists()
