"""Runs that fail: seen, said, and ended with the best student kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import CheckpointError, TrainingError
from nas.files import read_json
from nas.models import VideoModel
from nas.models.weights import weights_digest
from nas.training import LoopConfig
from nas.training.distillation import AdversarialConfig, DistillationConfig, DistillationTask, best_student, distill
from nas.training.distillation.best_student import BestStudentState
from nas.training.distillation.checks import Check, StudentCheck
from nas.training.engine import checkpoint_writer

LOOP = LoopConfig(steps=6, batch_size=2, image_batch_size=0, warmup_steps=1, checkpoint_every=2)


def test_the_student_nearest_to_its_target_is_kept(teacher: VideoModel, clips: MovingShapes, tmp_path: Path) -> None:
    result = distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    record = read_json(tmp_path / "checks.json")
    assert [check["step"] for check in record["checks"]] == [0, 2, 4, 6]
    nearest = min(record["checks"][1:], key=lambda check: check["distance"])
    assert result.kept_step == nearest["step"]
    assert record["best"] == nearest
    kept = StudentCheck(teacher, clips, DistillationConfig(steps=2), seed=0)(VideoModel.load(tmp_path / "model"), 0)
    assert kept.distance == pytest.approx(nearest["distance"], rel=1e-4)


def _stop(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, count: int) -> None:
    """Interrupt the call of that number."""
    original, calls = getattr(owner, name), iter(range(1, 1000))

    def stopping(*arguments: Any, **options: Any) -> Any:
        if next(calls) == count:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, stopping)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that tests share: the first one does it, and later ones find it done."""
    return tmp_path_factory.mktemp("undisturbed") / "run"


@pytest.mark.parametrize(("module", "name"), [(checkpoint_writer, "save_checkpoint"), (best_student, "save_model")])
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_kept_is_the_same_wherever_a_run_is_broken_off(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch,
    module: Any, name: str, count: int,
) -> None:  # fmt: skip
    # Each student is better than the one before it.
    monkeypatch.setattr(
        StudentCheck, "__call__", lambda _, __, step: Check(step=step, distance=1e-3 / step, diversity=1.0)
    )
    whole = distill(teacher, clips, LOOP, DistillationConfig(steps=2), undisturbed)
    assert whole.kept_step == 6
    with monkeypatch.context() as patch:
        _stop(patch, module, name, count)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path / "halves")
    halves = distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path / "halves")
    assert halves.kept_step == whole.kept_step
    models = [VideoModel.load(run / "model").unet for run in (undisturbed, tmp_path / "halves")]
    assert weights_digest(models[0]) == weights_digest(models[1])


def test_another_run_in_the_folder_leaves_nothing_behind(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was killed before its first checkpoint, when it had kept a student already."""
    with monkeypatch.context() as patch:
        _stop(patch, checkpoint_writer, "save_checkpoint", 1)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    assert (tmp_path / "model").is_dir()
    distill(teacher, clips, LOOP, DistillationConfig(steps=3), tmp_path)
    assert VideoModel.load(tmp_path / "model").generation.steps == 3
    assert [check["step"] for check in read_json(tmp_path / "checks.json")["checks"]] == [0, 2, 4, 6]


def test_a_model_that_is_gone_is_made_again(teacher: VideoModel, clips: MovingShapes, tmp_path: Path) -> None:
    distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    shutil.rmtree(tmp_path / "model")
    assert distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path).kept_step == 6
    VideoModel.load(tmp_path / "model")


def test_only_a_nearer_student_takes_the_place_of_the_best() -> None:
    state = BestStudentState()
    for step, distance, diversity in ((2, 5.0, 1.0), (4, 3.0, 1.0), (6, 1.0, 0.1), (8, None, None), (10, 4.0, 1.0)):
        state = state.with_check(Check(step=step, distance=distance, diversity=diversity))
    assert [check.step for check in state.checks] == [2, 4, 6, 8, 10]
    assert state.best is not None
    assert state.best.step == 4


def test_any_sound_student_takes_the_place_of_the_teacher() -> None:
    state = BestStudentState().with_check(Check(step=0, distance=1.0, diversity=1.0))
    state = state.with_check(Check(step=2, distance=0.5, diversity=0.1))
    assert state.best is not None
    assert state.best.step == 0, "a collapsed one does not"
    state = state.with_check(Check(step=4, distance=3.0, diversity=1.3))
    assert state.best is not None
    assert state.best.step == 4


def test_settings_that_say_what_they_would_be_anyway_are_the_same_run(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path
) -> None:
    distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    distill(teacher, clips, LOOP, DistillationConfig(steps=2, teacher_substeps=4, guidance_scale=3.0), tmp_path)
    teacher.generation = teacher.generation.model_copy(update={"shift": 2.0})
    with pytest.raises(CheckpointError, match="was written by another"):
        distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)


def test_a_student_is_compared_with_what_it_learns_from(teacher: VideoModel, clips: MovingShapes) -> None:
    """A teacher without guidance, in as many steps as its path has, makes just what a trajectory student should."""
    path = DistillationConfig(steps=1, teacher_substeps=4, guidance_scale=1.0)
    four = DistillationConfig(steps=4, target="data")
    own = StudentCheck(teacher, clips, path, seed=0)
    own.steps = 4
    assert own(teacher, 1).distance == pytest.approx(0, abs=1e-6)
    real = StudentCheck(teacher, clips, four, seed=0)
    assert real(teacher, 1).distance == real.at_start().distance
    assert real.at_start().distance > 1  # type: ignore[operator]


def test_the_teacher_has_all_of_its_own_variety(teacher: VideoModel, clips: MovingShapes) -> None:
    check = StudentCheck(teacher, clips, DistillationConfig(steps=2), seed=0)
    looked, start = check(teacher, 0), check.at_start()
    assert looked.diversity == pytest.approx(1)
    assert start.diversity == 1
    assert start.distance == pytest.approx(looked.distance)


class _Deaf(torch.nn.Module):
    """A network that makes the same clip of any noise."""

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return sample / (timestep / 1000).reshape(-1, 1, 1, 1, 1)


def test_a_collapse_ends_the_run_and_keeps_the_student_before_it(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StudentCheck._clips

    def collapsing(self, model, *how):  # type: ignore[no-untyped-def]
        if (tmp_path / "checkpoints").is_dir():  # after the first checkpoint
            model = VideoModel(model.space, model.architecture, _Deaf(), model.text_encoder, model.generation)  # type: ignore[arg-type]
        return original(self, model, *how)

    monkeypatch.setattr(StudentCheck, "_clips", collapsing)
    with pytest.raises(TrainingError, match=r"mode collapse: at step 4 .* of step [02], is kept in .*model"):
        distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    assert read_json(tmp_path / "checks.json")["checks"][-1]["diversity"] < 0.2
    VideoModel.load(tmp_path / "model")


def test_a_discriminator_that_wins_ends_the_run(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that hardly learns, against a discriminator that learns fast."""
    monkeypatch.setattr(best_student, "WIN_STEPS", 3)
    monkeypatch.setattr(best_student, "WIN_SHARE", 0.75)
    adversarial = AdversarialConfig(learning_rate=2e-2, r1_weight=0, target_weight=0, renoise=None)
    to = DistillationConfig(steps=1, target="data", adversarial=adversarial)
    fast = LoopConfig(
        steps=200, batch_size=4, image_batch_size=0, learning_rate=1e-9, warmup_steps=1, checkpoint_every=20
    )
    ends = []
    for _ in range(2):  # and ends it again where it goes on
        with pytest.raises(TrainingError, match=r"discriminator has won: .* is kept in .*; lower adversarial") as end:
            distill(teacher, clips, fast, to, tmp_path)
        ends.append(str(end.value))
    assert ends[0] == ends[1]
    VideoModel.load(tmp_path / "model")


def test_a_loss_that_is_not_finite_ends_the_run(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DistillationTask.losses

    def diverging(self, latent, tokens, rng, step, phase):  # type: ignore[no-untyped-def]
        losses = original(self, latent, tokens, rng, step, phase)
        return losses | {"loss": losses["loss"] * (float("nan") if step == 3 else 1)}

    monkeypatch.setattr(DistillationTask, "losses", diverging)
    with pytest.raises(TrainingError, match=r"loss is nan at step 4; training diverged; .* of step [02], is kept"):
        distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)


def test_a_run_that_fails_at_once_leaves_what_it_began_with(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path
) -> None:
    fast = LOOP.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30})
    with pytest.raises(TrainingError, match="of step 0, is kept"):
        distill(teacher, clips, fast, DistillationConfig(steps=2), tmp_path)
    assert weights_digest(VideoModel.load(tmp_path / "model").unet) == weights_digest(teacher.unet)


def test_a_checkpoint_of_an_earlier_version_is_read() -> None:
    check = {"step": 2, "distance": 1.0, "variety": 0.5}
    state = BestStudentState.model_validate({"best": check, "checks": [check], "told": [0.5, 0.75]})
    assert state.accuracies == (0.5, 0.75)
    assert state.best == Check(step=2, distance=1.0, diversity=0.5)
    assert BestStudentState.model_validate(state.model_dump()) == state
