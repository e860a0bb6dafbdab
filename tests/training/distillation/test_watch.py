"""Runs that fail: seen, said, and ended with the best student kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import TrainingError
from nas.files import read_json
from nas.models import VideoModel
from nas.training import LoopConfig
from nas.training.distillation import AdversarialConfig, DistillationConfig, DistillationTask, distill, watch
from nas.training.distillation.checks import Check, StudentCheck
from nas.training.distillation.watch import Checks

LOOP = LoopConfig(steps=6, batch_size=2, image_batch_size=0, warmup_steps=1, checkpoint_every=2)


def test_the_student_nearest_to_real_clips_is_kept(teacher: VideoModel, clips: MovingShapes, tmp_path: Path) -> None:
    result = distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    record = read_json(tmp_path / "checks.json")
    assert [each["step"] for each in record["checks"]] == [2, 4, 6]
    nearest = min(record["checks"], key=lambda each: each["distance"])
    assert result.kept_step == record["best"] == nearest["step"]
    kept = StudentCheck(teacher, clips, 2, seed=0)(VideoModel.load(tmp_path / "model"), 0)
    assert kept.distance == pytest.approx(nearest["distance"], rel=1e-4)


def test_checks_of_steps_that_are_done_again_count_once() -> None:
    checks = Checks().with_check(Check(2, 5.0, 1.0)).with_check(Check(4, 3.0, 1.0)).with_check(Check(6, 4.0, 1.0))
    assert checks.best == 4
    again = checks.with_check(Check(4, 6.0, 1.0))
    assert [each.step for each in again.checks] == [2, 4]
    assert again.best == 2


def test_the_teacher_has_all_of_its_own_variety(teacher: VideoModel, clips: MovingShapes) -> None:
    assert StudentCheck(teacher, clips, 2, seed=0)(teacher, 0).variety == pytest.approx(1)


class _Deaf(torch.nn.Module):
    """A network that makes the same clip of any noise."""

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return sample / (timestep / 1000).reshape(-1, 1, 1, 1, 1)


def test_a_collapse_ends_the_run_and_keeps_the_student_before_it(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = StudentCheck._clips

    def collapsing(self, model):  # type: ignore[no-untyped-def]
        if (tmp_path / "model").is_dir():  # after the first check
            model = VideoModel(model.space, model.architecture, _Deaf(), model.text_encoder, model.generation)  # type: ignore[arg-type]
        return original(self, model)

    monkeypatch.setattr(StudentCheck, "_clips", collapsing)
    with pytest.raises(TrainingError, match=r"mode collapse: at step 4 .* of step 2, is kept in .*model"):
        distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)
    VideoModel.load(tmp_path / "model")


def test_a_discriminator_that_wins_ends_the_run(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that hardly learns, against a discriminator that learns fast."""
    monkeypatch.setattr(watch, "WIN_STEPS", 5)
    monkeypatch.setattr(watch, "WIN_SHARE", 0.9)
    adversarial = AdversarialConfig(learning_rate=2e-2, r1_weight=0, target_weight=0, renoise=None)
    to = DistillationConfig(steps=1, target="data", adversarial=adversarial)
    loop = LoopConfig(
        steps=200, batch_size=8, image_batch_size=0, learning_rate=1e-9, warmup_steps=1, checkpoint_every=5
    )
    with pytest.raises(TrainingError, match=r"the discriminator has won: .* is kept in .*; lower adversarial"):
        distill(teacher, clips, loop, to, tmp_path)
    VideoModel.load(tmp_path / "model")


def test_a_loss_that_is_not_finite_ends_the_run(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DistillationTask.losses

    def diverging(self, latent, tokens, step, turn):  # type: ignore[no-untyped-def]
        losses = original(self, latent, tokens, step, turn)
        return losses | {"loss": losses["loss"] * (float("nan") if step == 3 else 1)}

    monkeypatch.setattr(DistillationTask, "losses", diverging)
    with pytest.raises(TrainingError, match=r"loss is nan at step 4; training diverged; .* of step 2, is kept"):
        distill(teacher, clips, LOOP, DistillationConfig(steps=2), tmp_path)


def test_a_run_that_fails_at_once_says_that_nothing_is_kept(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path
) -> None:
    loop = LOOP.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30})
    with pytest.raises(TrainingError, match="no student was kept"):
        distill(teacher, clips, loop, DistillationConfig(steps=2), tmp_path)
