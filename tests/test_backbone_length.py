"""How long a backbone is to be trained: the benchmark ends, goes on, and its figures are what they are called."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks import backbone_length
from nas.data import ClipShape, MovingShapes, VideoDataset
from nas.data.config import split
from nas.files import read_json
from nas.models import Generation, SuperNet, VideoModel, make_codec
from nas.quality import HeldOutFlowLoss
from nas.space import SearchSpace
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the benchmark in this process, on a small space, and gives what it prints."""
    monkeypatch.setattr(backbone_length, "BATCHES", 2)
    monkeypatch.setattr("benchmarks.ranking_runs.BATCHES", 2)
    space = tmp_path / "tiny.yaml"
    space.write_text(yaml.safe_dump(TINY), encoding="utf-8")

    def run(*options: object) -> str:
        command = ["backbone_length.py", "--space", space, "--out", tmp_path / "out", "--workers", 1, *options]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        capsys.readouterr()
        backbone_length.main()
        return capsys.readouterr().out

    return run


def test_each_length_gets_a_row_and_nothing_is_trained_twice(run: Run, tmp_path: Path) -> None:
    options = ["--lengths", "12,1", "--supernet-steps", 1, "--architectures", 3, "--seeds", 1]
    report = json.loads(run(*options, "--json"))
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/metrics.csv")}
    assert len(trained) == 2 + 2
    assert report == read_json(tmp_path / "out" / "backbone_length.json")
    short, long = report["rows"]
    assert (short["steps"], long["steps"]) == (1, 12)
    assert short["frames"] > long["frames"], "training lowers the loss of frames that it has not seen"
    assert long["passes"] == pytest.approx(12 * (16 * 4 + 4) / (3600 * 4))
    assert long["best"] == long["best_by_seed"][0] <= long["mean"]
    with (tmp_path / "out" / "backbone-12" / "metrics.csv").open() as file:
        logged = [float(row["loss"]) for row in csv.DictReader(file)]
    assert long["training"] == pytest.approx(sum(logged) / len(logged))
    assert 0 < long["fastest_step_ms"] <= 60_000 * long["minutes"] / 12
    (tmp_path / "out" / "backbone_length.png").unlink()
    assert "14,400 frames" in run(*options)
    assert trained == {path: path.stat().st_mtime_ns for path in trained}
    assert (tmp_path / "out" / "backbone_length.png").stat().st_size > 20_000


def test_single_frames_are_those_of_the_clips_each_in_its_turn() -> None:
    clips = MovingShapes(ClipShape(3, 16, 16, 4), 5)
    frames = backbone_length.SingleFrames(clips)
    assert (len(frames), frames.shape.frames, frames.captions) == (5, 1, clips.captions)
    for index, frame in enumerate([0, 1, 2, 0, 1]):
        assert torch.equal(frames[index].video_TCHW[0], clips[index].video_TCHW[frame])
    assert torch.equal(frames[-1].video_TCHW, frames[4].video_TCHW)
    with pytest.raises(IndexError):
        frames[5]


def test_gains_are_for_each_doubling() -> None:
    before, after = {"steps": 100, "frames": 0.8, "mean": 0.4}, {"steps": 400, "frames": 0.2, "mean": 0.4}
    assert backbone_length.gains(after, before) == {"frames_by_doubling": pytest.approx(0.5), "mean_by_doubling": 0.0}
    assert set(backbone_length.gains(before, None).values()) == {None}


def test_agreement_is_with_the_longest_backbone_and_of_that_with_itself() -> None:
    up, down, ties = {"a": 1.0, "b": 2.0, "c": 3.0}, {"c": 1.0, "b": 2.0, "a": 3.0}, dict.fromkeys("abc", 1.0)
    assert backbone_length.agreement([up], [up, down]) == pytest.approx(0)
    assert backbone_length.agreement([up], [down]) == pytest.approx(-1)
    longest = [up, dict(up)]
    assert backbone_length.agreement(longest, longest) == pytest.approx(1)
    assert backbone_length.agreement([ties], [up]) is None, "no ranking"
    assert backbone_length.agreement([up], [up]) is not None
    alone = [up]
    assert backbone_length.agreement(alone, alone) is None, "one supernet has nothing to agree with"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lengths", "300"], "at least two"),
        (["--lengths", "0,300"], "1 step or more"),
        (["--lengths", "300,many"], "numbers of steps"),
        (["--seeds", "0"], "1 of everything"),
        (["--architectures", "7"], "has 6"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*options)
    assert message in capsys.readouterr().err + str(ended.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_training_page_prints_the_held_out_loss_of_a_backbone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    space = SearchSpace.from_dict(TINY)
    model = VideoModel.build(space, space.without_layers(), Generation(shift=3.0))
    model.save(tmp_path / "runs" / "images" / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "my_clips").symlink_to(ROOT / "examples" / "data" / "big_buck_bunny")
    exec(code, {})  # noqa: S102 - it is this repository's own page
    printed = float(capsys.readouterr().out)
    clips = VideoDataset.open(tmp_path / "my_clips", ClipShape(4, 16, 16, 8))
    parts = SuperNet(space), model.text_encoder, make_codec(space), split(clips).validation
    held_out = HeldOutFlowLoss(*parts, batches=32, shift=3.0)
    assert printed == pytest.approx(held_out.loss_of(model.unet, model.text_encoder))
