"""The benchmarks that judge a finished run: of their parts, and of both on a run that takes seconds."""

from __future__ import annotations

import itertools
import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks import ranking_runs
from benchmarks.finished_runs import finished_run, first_unfinished
from benchmarks.quickstart_features import DownPathFeatures
from benchmarks.quickstart_judge import Judge, RealClips
from benchmarks.quickstart_quality import goals, without_backbone
from benchmarks.ranking_report import compare
from benchmarks.ranking_runs import Common
from nas.data import ClipShape, DataSplit, MovingShapes, split, to_pixels
from nas.errors import CheckpointError, StorageError
from nas.models import Generation, VideoModel
from nas.pipeline import Stage, StageResult, load_run, run_pipeline, run_stages
from nas.space import SearchSpace
from tests.pipeline.test_run import QUICK, RUN
from tests.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]
SPACE = SearchSpace.from_dict(TINY)


def _clips(space: SearchSpace, seed: int = 0) -> DataSplit:
    return split(MovingShapes(ClipShape(4, 16, 16, 8), 10, seed), 0.2)


def _other_clips(space: SearchSpace) -> DataSplit:
    return _clips(space, seed=1)


@pytest.fixture(scope="module")
def images() -> VideoModel:
    """A model of images whose layers do something."""
    torch.manual_seed(0)
    model = VideoModel.build(SPACE, SPACE.without_layers(), Generation())
    model.unet.eval()
    return model


# What a clip is compared by


def test_features_are_means_of_what_the_network_sees_in_single_frames(images: VideoModel) -> None:
    video, _ = MovingShapes(ClipShape(4, 16, 16, 8), 3).batch([0, 1, 2])
    features = DownPathFeatures(images)
    seen: list[torch.Tensor] = []
    hooks = [
        images.unet.get_submodule(name).register_forward_hook(
            lambda _, __, out: seen.append(out.mean(dim=(0, 1, 3, 4)))
        )
        for name in features.path.levels
    ]
    codec = features.codec
    with torch.no_grad():
        for frame in range(4):
            still = codec.encode(to_pixels(video[1:2, frame : frame + 1]))
            images.unet(still, torch.zeros(1), images.text_encoder.encode([""]))
    for hook in hooks:
        hook.remove()
    expected = torch.stack([torch.cat(seen[number : number + 2]) for number in range(0, 8, 2)]).mean(dim=0)
    torch.testing.assert_close(features(video)[1], expected)
    on_a_grid = DownPathFeatures(images, (2, 2))(video).unflatten(1, (-1, 4))
    torch.testing.assert_close(on_a_grid.mean(dim=2), features(video))


def test_a_grid_tells_what_stands_left_from_what_stands_right(images: VideoModel) -> None:
    video = torch.zeros(2, 4, 3, 16, 16, dtype=torch.uint8)
    video[0, ..., :4], video[1, ..., -4:] = 255, 255
    (left, right), (left_mean, right_mean) = (DownPathFeatures(images, grid)(video) for grid in ((2, 4), (1, 1)))
    assert (left - right).norm() > 2 * (left_mean - right_mean).norm()


# The judge


@pytest.fixture(scope="module")
def judge(images: VideoModel) -> Judge:
    video, _ = MovingShapes(ClipShape(4, 16, 16, 8), 8, 3).batch(range(8))
    # Each clip of training is there twice, the second time a little darker.
    training = RealClips(torch.cat([video[:5], (video[:5] * 0.98).byte()]), ("a", "b", "c", "d", "e") * 2)
    return Judge(images, training, RealClips(video[5:], ("x", "y", "z")))


def test_the_nearest_real_clip_is_looked_for_among_all(judge: Judge) -> None:
    video = torch.cat([judge.training.video_BTCHW[:3], judge.held_out.video_BTCHW[:1]])
    assert judge.found(video, ["a", "b", "c", "x"]) == 4
    assert judge.found(video, ["b", "b", "x", "a"]) == 1


def test_a_real_clip_is_not_its_own_neighbour(judge: Judge) -> None:
    row = judge.of_real(judge.training)
    assert (row["found"], row["of"], row["times_real"]) == (10, 10, 1)
    assert judge.of_real(judge.held_out)["of"] == 0, "no two of these have a caption in common"


def test_a_models_clips_are_of_the_captions_of_the_real_ones(judge: Judge, images: VideoModel) -> None:
    row = judge.of_model(images, judge.training)
    assert row["of"] == 5
    assert row["distance"]["clips"] == 10
    assert row["distance"]["low"] <= row["distance"]["value"] <= row["distance"]["high"]
    assert judge.of_model(images, judge.held_out)["distance"] is None
    assert row["times_real"] > 1, "an untrained network makes noise"


def test_captions_asked_for_are_distinct_and_spread() -> None:
    captions = tuple(f"caption {number // 2}" for number in range(60))
    asked = RealClips(torch.empty(0), captions).asked
    assert len({captions[place] for place in asked}) == len(asked) == 16
    assert (asked[0], asked[-1]) == (0, 58)
    assert {second - first for first, second in itertools.pairwise(asked)} <= {2, 4}
    assert RealClips(torch.empty(0), ("a", "a", "b")).asked == [0, 2]
    assert RealClips(torch.empty(0), ("a", "b", "a", "c")).asked == [0, 1, 3], "in the order of the clips"


@pytest.mark.parametrize(
    ("found", "distance", "times_real", "missed"),
    [
        (12, 5.0, 1.3, []),
        (11, 5.0, 1.3, ["nearest real clip is of the caption, of 16: 11, goal: at least 12"]),
        (16, 6.0, 1.3, ["Frechet distance, divided by that without backbone: 0.6, goal: at most 0.5"]),
        (12, 5.0, float("nan"), ["flicker, divided by that of the real clips: nan, goal: at most 1.3"]),
    ],
)
def test_a_goal_that_is_missed_is_named(found: int, distance: float, times_real: float, missed: list[str]) -> None:
    student = {"found": found, "of": 16, "distance": {"value": distance}, "times_real": times_real}
    bare = {"distance": {"value": 10.0}}
    rows = {"training captions": {"student": student, "student of the run without backbone": bare}}
    assert [str(goal) for goal in goals({"rows": rows}) if not goal.met] == missed


# What counts as finished


def test_a_run_is_finished_when_none_of_its_stages_would_run(tmp_path: Path) -> None:
    def stages(setting: int, token: str) -> list[Stage]:
        data = Stage("data", [], (), lambda folder: StageResult("", token=token), always=True)
        return [data, *(Stage(name, [setting], ("data",), lambda folder: StageResult("")) for name in ("one", "two"))]

    assert first_unfinished(stages(1, "a"), tmp_path) == "data"
    run_stages(stages(1, "a")[:2], tmp_path, lambda line: None)
    assert first_unfinished(stages(1, "a"), tmp_path) == "two"
    run_stages(stages(1, "a"), tmp_path, lambda line: None)
    assert first_unfinished(stages(1, "a"), tmp_path) is None
    assert first_unfinished(stages(2, "a"), tmp_path) == "one", "other settings"
    assert first_unfinished(stages(1, "b"), tmp_path) == "data", "other clips"


# Ranking


def test_two_sets_of_separate_trainings_tell_the_ceiling_and_one_does_not() -> None:
    one, turned, other = ({name: float(loss) for name, loss in zip("abcd", each, strict=True)}
                          for each in ([1, 2, 3, 4], [4, 3, 2, 1], [1, 2, 4, 3]))  # fmt: skip
    alone = compare("abcd", [one], {"same": [one], "turned": [turned]})
    assert {name: row["kendall_tau"] for name, row in alone["agreement"].items()} == {"same": 1, "turned": -1}
    assert "loss_difference_of_two_seeds" not in alone
    both = compare("abcd", [one, other], {"same": [one]})["agreement"]
    ceiling = both["trained alone, another seed"]["kendall_tau"]
    assert ceiling == pytest.approx((5 - 1) / 6, abs=1e-4), "five of six pairs agree"
    assert both["same"]["kendall_tau"] == pytest.approx((1 + ceiling) / 2, abs=1e-4)


def test_a_training_is_done_once_for_the_same_clips(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump(TINY))
    settings = {"batch_size": 1, "image_batch_size": 0, "freeze_backbone": False}

    def losses(clips: Callable[[SearchSpace], DataSplit] = _clips, draw: int = 0) -> dict[str, float]:
        job = Common(space, settings, None, clips, draw).alone(SPACE.smallest(), seed=0, steps=1)
        return job.run(tmp_path / "out")

    first = losses()
    (file,) = tmp_path.glob("out/*/losses.json")
    saved = json.loads(file.read_text())
    file.write_text(json.dumps(saved | {"losses": {"kept": 1.0}}))
    assert losses() == {"kept": 1.0}
    assert losses(draw=1).keys() == first.keys()
    assert losses(draw=1) != first
    with pytest.raises(CheckpointError, match="data set"):
        losses(clips=_other_clips)


# Both, on a run


SMALL_TRAINING = {"steps": 2, "batch_size": 2, "image_batch_size": 2}
SMALL_RUN: dict[str, Any] = RUN | {
    "backbone": {"training": SMALL_TRAINING},
    "train": SMALL_TRAINING | {"freeze_backbone": True},
    "fit": {"networks": 0},
    "search": {"evaluations": 3, "sampler": "random", "steps": 1},
    "rescore": {"batches": 1},
    "check": {"networks": 1, "measurement": QUICK},
    "distill": {
        "finetune": SMALL_TRAINING | {"freeze_backbone": True},
        "training": SMALL_TRAINING,
        "distillation": {"steps": 1, "teacher_substeps": 1, "guidance_scale": 1.0},
    },
    "export": {"formats": ["safetensors"]},
    "generate": {"count": 1},
}


def _write_run(folder: Path) -> Path:
    (folder / "space.yaml").write_text(yaml.safe_dump(TINY))
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(SMALL_RUN))
    return file


@pytest.fixture
def run_benchmark(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a benchmark in this process; gives its exit code and what it prints."""

    def run(name: str, *arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            runpy.run_path(str(ROOT / "benchmarks" / name), run_name="__main__")
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_a_run_that_is_not_finished_is_refused_in_one_line(run_benchmark: Callable[..., Any], tmp_path: Path) -> None:
    file = _write_run(tmp_path)
    for name, options in (("quickstart_quality.py", []), ("quickstart_ranking.py", ["--out", tmp_path / "ranking"])):
        code, out, err = run_benchmark(name, "--run", file, *options)
        assert (code, out) == (2, "")
        assert err == f"error: {tmp_path / 'out'}: there is no run here; run `nas run {file}` to the end first\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.yaml", "space.yaml"]


@pytest.mark.slow
def test_a_finished_run_is_judged(
    run_benchmark: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking_runs, "BATCHES", 2)
    monkeypatch.setattr(ranking_runs, "FINE_BATCHES", 4)
    file = _write_run(tmp_path)
    run_pipeline(file)
    code, out, err = run_benchmark("quickstart_quality.py", "--run", file, "--without", tmp_path / "bare", "--json")
    report = json.loads(out)
    assert code == 1
    assert report["missed"]
    assert [line.removeprefix("missed: ") for line in err.splitlines() if line.startswith("missed")] == report["missed"]
    who = ["student", "teacher", "student of the run without backbone", "real clips"]
    assert {side: list(rows) for side, rows in report["rows"].items()} == {
        "training captions": who,
        "held-out captions": who,
    }
    assert report["rows"]["training captions"]["student"]["distance"]["clips"] == 36
    _check_bare_run(file, tmp_path / "bare")
    arguments = ["--run", file, "--out", tmp_path / "ranking", "--architectures", 3, "--steps", 2, "--workers", 1]
    code, out, err = run_benchmark("quickstart_ranking.py", *arguments, "--json")
    ranking = json.loads(out)
    assert code == 0
    assert list(ranking["agreement"])[:2] == [
        "the run's supernet, 3 batches of 8 (its search)", "the run's supernet, 4 batches of 8",
    ]  # fmt: skip
    assert list(ranking["agreement"])[2:] == ["parameters", "MACs", "synflow"]
    assert len(list(tmp_path.glob("ranking/*/metrics.csv"))) == 3, "no supernet is trained"
    code, out, _ = run_benchmark("quickstart_ranking.py", *arguments)
    assert (code, out.count("frozen backbone")) == (0, 1)


def _check_bare_run(file: Path, folder: Path) -> None:
    """The run without backbone is the same but for that."""
    (config, space), (bare, same_space) = load_run(file), load_run(folder / "without_backbone.yaml")
    assert space.fingerprint == same_space.fingerprint
    assert not (folder / "backbone").exists()
    differing = {name for name, value in config if value != getattr(bare, name)}
    assert differing == {"space", "out", "backbone", "train", "distill"}
    assert bare.train == config.train.model_copy(update={"freeze_backbone": False})
    assert bare.distill.finetune is not None
    assert not bare.distill.finetune.freeze_backbone
    with pytest.raises(StorageError, match="choose another folder"):
        without_backbone(finished_run(file), file.parent / "out")
    (file.parent / "mine").mkdir()
    shutil.copy(file, file.parent / "mine")
    with pytest.raises(StorageError, match="choose another folder"):
        without_backbone(finished_run(file), file.parent / "mine")
    with pytest.raises(StorageError, match="choose another folder"):
        without_backbone(finished_run(file), file)
