"""Distribution matching: its gradient against closed forms of Gaussians, and its network in runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.data import MovingShapes
from nas.models import VideoModel
from nas.models.flow import mix
from nas.models.weights import load_safetensors
from nas.training import LoopConfig
from nas.training.distillation import (
    AdversarialConfig,
    DistillationConfig,
    DistillationTask,
    DistributionMatchingTarget,
    GuidedTeacher,
    Renoising,
    StudentStep,
    distill,
)
from nas.training.distillation.distribution_matching import FAKE_SCORE
from nas.training.distillation.run import make_task
from nas.training.engine.task import MODEL
from nas.training.engine.trainer import Trainer
from nas.training.flow.batches import Batch

TO = DistillationConfig(steps=2, target="distribution_matching", teacher_substeps=1, adversarial=AdversarialConfig())
LOOP = LoopConfig(steps=2, batch_size=2, image_batch_size=1, warmup_steps=1, checkpoint_every=1)


class Gaussian(nn.Module):
    """The exact velocity of independent normal values: data of this mean and deviation with noise at level s.

    A sample x has the mean (1 - s) m and the variance v = (1 - s)^2 d^2 + s^2, so that the expected noise is
    s (x - (1 - s) m) / v, and the expected data m + (1 - s) d^2 (x - (1 - s) m) / v.
    """

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = nn.Parameter(torch.tensor(mean)), nn.Parameter(torch.tensor(deviation))

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        level = (timestep / 1000).reshape(-1, 1, 1, 1, 1)
        kept, square = 1 - level, self.deviation.square()
        away = (sample - kept * self.mean) / (kept.square() * square + level.square())
        return level * away - self.mean - kept * square * away


class Generator(nn.Module):
    """A student of one step: noise z becomes the clip `mean + deviation * z`."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean, self.deviation = nn.Parameter(torch.tensor(mean)), nn.Parameter(torch.tensor(deviation))

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return sample - (self.mean + self.deviation * sample)


def _step(student: nn.Module, clips: int = 64, seed: int = 0) -> StudentStep:
    generator = torch.Generator().manual_seed(seed)
    start, again = (torch.randn(clips, 2, 3, 8, 8, generator=generator) for _ in range(2))
    ones_B, context = torch.ones(clips), torch.zeros(clips, 1, 1)
    noisy = mix(torch.zeros_like(start), start, ones_B)
    levels = 0.1 + 0.8 * torch.rand(clips, generator=generator)
    velocity = student(start, noisy.timestep_B, context)
    return StudentStep(noisy, ones_B, 0 * ones_B, context, velocity, Renoising(levels, again))


def _target(teacher: nn.Module, student: nn.Module, **options: Any) -> DistributionMatchingTarget:
    guided = GuidedTeacher(teacher.requires_grad_(False), lambda: torch.zeros(1, 1, 1), 1.0, 1)
    return DistributionMatchingTarget(DistributionMatchingTarget.Config(**options), guided, student)


def test_a_student_with_the_distribution_of_the_teacher_stays_as_it_is() -> None:
    student = Generator(0.5, 0.7)
    target = _target(Gaussian(0.5, 0.7), student)
    target.loss(_step(student)).backward()
    assert student.mean.grad == student.deviation.grad == 0


@pytest.mark.parametrize("apart", [-0.6, 0.6])
@pytest.mark.parametrize("what", ["mean", "deviation"])
def test_the_gradient_is_that_of_the_divergence_of_two_gaussians(what: str, apart: float) -> None:
    """The scores of both are known, and so is the error by which the difference is divided."""
    mean, deviation = 0.5, 1.0
    theirs = {"mean": mean, "deviation": deviation}
    own = theirs | {what: theirs[what] + apart}
    student = Generator(**own)
    target = _target(Gaussian(**theirs), student)
    target.network = Gaussian(**own)
    step = _step(student)
    assert step.renoising is not None
    clip = own["mean"] + own["deviation"] * step.noisy.sample_BTCHW
    level = step.renoising.level_B.reshape(-1, 1, 1, 1, 1)
    noisy = (1 - level) * clip + level * step.renoising.noise_BTCHW

    def score(mean: float, deviation: float) -> torch.Tensor:
        return -(noisy - (1 - level) * mean) / (((1 - level) * deviation) ** 2 + level**2)

    def data(mean: float, deviation: float) -> torch.Tensor:
        """The expected clip (Tweedie)."""
        return (noisy + level**2 * score(mean, deviation)) / (1 - level)

    error = (clip - data(**theirs)).abs().mean(dim=(1, 2, 3, 4), keepdim=True)
    expected = level**2 / (1 - level) * (score(**own) - score(**theirs)) / error
    torch.testing.assert_close(target.direction(step), expected, rtol=1e-3, atol=1e-4)
    target.loss(step).backward()
    found = getattr(student, what).grad
    assert found is not None
    wanted = expected if what == "mean" else expected * step.noisy.sample_BTCHW
    assert found.item() == pytest.approx(wanted.mean().item(), rel=1e-3)
    assert (found > 0) == (apart > 0), "a step of gradient descent leads to the teacher's distribution"


def test_the_fake_score_learns_the_distribution_of_the_students_clips() -> None:
    student = Generator(-0.4, 0.5)
    target = _target(Gaussian(0.5, 1.0), student)
    network = target.network
    assert isinstance(network, Gaussian)
    optimizer = torch.optim.Adam(target.phase().parameters, lr=0.03)
    for seed in range(150):
        with torch.no_grad():
            step = _step(student, clips=8, seed=seed)
        optimizer.zero_grad()
        target.network_losses(step)["loss"].backward()
        optimizer.step()
    assert network.mean.item() == pytest.approx(-0.4, abs=0.05)
    assert network.deviation.item() == pytest.approx(0.5, abs=0.05)


def test_a_student_learns_the_distribution_of_the_teacher() -> None:
    """Both learn, in turns, as in a run."""
    student = Generator(-0.4, 0.5)
    target = _target(Gaussian(0.5, 1.0), student)
    fake, own = torch.optim.Adam(target.phase().parameters, lr=0.03), torch.optim.Adam(student.parameters(), lr=0.01)
    for number in range(250):
        for turn in range(3):
            with torch.no_grad():
                step = _step(student, clips=8, seed=4 * number + turn)
            fake.zero_grad()
            target.network_losses(step)["loss"].backward()
            fake.step()
        own.zero_grad()
        target.loss(_step(student, clips=8, seed=4 * number + 3)).backward()
        own.step()
    assert student.mean.item() == pytest.approx(0.5, abs=0.1)
    assert student.deviation.abs().item() == pytest.approx(1.0, abs=0.1)


def _task(teacher: VideoModel, config: DistillationConfig = TO) -> DistillationTask:
    return make_task(teacher, LOOP, config)


def test_steps_start_where_the_student_arrives_when_it_makes_clips(teacher: VideoModel, batch: Batch) -> None:
    steps = 3
    teacher.generation = teacher.generation.model_copy(update={"shift": 3.0})
    task = _task(teacher, DistillationConfig(steps=steps, target="distribution_matching"))
    with torch.no_grad():
        for parameter in task.unet.parameters():
            parameter.mul_(1.1)
        step = task.student_step(batch.video_BTCHW, batch.video_tokens_BL, batch.video_keys.rng("steps"))
    rng = batch.video_keys.rng("steps")
    segments, noise = rng.below(steps).tolist(), rng.normal_like(batch.video_BTCHW)
    assert len(set(segments)) > 1
    student = replace(teacher, unet=task.unet)
    captions = [""] * len(segments)
    student.text_encoder.encode = lambda _: teacher.text_encoder(batch.video_tokens_BL)  # type: ignore[method-assign]
    made = [noise, *student.denoising(captions, noise, steps=steps, guidance_scale=1.0)]
    for clip, segment in enumerate(segments):
        torch.testing.assert_close(step.noisy.sample_BTCHW[clip], made[segment][clip], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(step.sample_at(step.end_B)[clip], made[segment + 1][clip], rtol=1e-4, atol=1e-4)


def test_each_phase_teaches_its_own(teacher: VideoModel, batch: Batch) -> None:
    task = _task(teacher)
    assert [(phase.name, phase.updates) for phase in task.phases()] == [
        ("discriminator", 1), (FAKE_SCORE, 5), (MODEL, 1)
    ]  # fmt: skip
    parameters = {phase.name: {id(each) for each in phase.parameters} for phase in task.phases()}
    for phase in task.phases():
        task.zero_grad()
        task(batch, 0, phase.name)["loss"].backward()
        learning = {id(each) for each in task.parameters() if each.grad is not None and bool(each.grad.any())}
        expected = parameters[phase.name]
        assert learning & expected
        if phase.name != MODEL:  # the student's loss follows the discriminator, which does not learn from it
            assert learning <= expected
        assert not learning & {id(each) for each in task.teacher.parameters()}


def test_the_updates_of_a_step_have_random_numbers_of_their_own(teacher: VideoModel, batch: Batch) -> None:
    task = _task(teacher)
    (phase,) = (phase for phase in task.phases() if phase.name == FAKE_SCORE)
    losses = [float(task(batch, 0, update.purpose)["loss"].detach()) for update in phase.in_turn()]
    assert len(set(losses)) == len(losses) == 5


@pytest.mark.slow
def test_the_fake_score_learns_as_often_and_as_fast_as_it_is_told(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"fake_updates": 3, "fake_learning_rate": 5e-3}
    to = TO.model_copy(update={"target_options": options, "adversarial": None})
    updates: list[tuple[str, float]] = []
    original = Trainer._phase

    def noting(self, wrapped, optimizer, phase, progress):  # type: ignore[no-untyped-def]
        losses = original(self, wrapped, optimizer, phase, progress)
        updates.append((phase.name, optimizer.param_groups[0]["lr"]))
        return losses

    monkeypatch.setattr(Trainer, "_phase", noting)
    distill(teacher, clips, LOOP.model_copy(update={"steps": 1, "learning_rate": 1e-4}), to, tmp_path)
    assert updates == [(FAKE_SCORE, 5e-3)] * 3 + [(MODEL, 1e-4)]
    assert f"{FAKE_SCORE}_loss" in (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")


@pytest.mark.slow
def test_a_run_that_is_killed_between_updates_resumes_bit_for_bit(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = TO.model_copy(update={"target_options": {"fake_updates": 2}})
    distill(teacher, clips, LOOP, to, tmp_path / "whole")
    original = Trainer._phase

    def stopping(self, wrapped, optimizer, phase, progress):  # type: ignore[no-untyped-def]
        if progress.step == 1 and phase.purpose == f"{FAKE_SCORE} 1":
            raise KeyboardInterrupt
        return original(self, wrapped, optimizer, phase, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_phase", stopping)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, clips, LOOP, to, tmp_path / "halves")
    distill(teacher, clips, LOOP, to, tmp_path / "halves")
    for name in ("task", "ema", "optimizers"):
        file = f"checkpoints/step-00000002/{name}.safetensors"
        whole, halves = (load_safetensors(tmp_path / run / file) for run in ("whole", "halves"))
        assert whole.keys() == halves.keys()
        assert all(torch.equal(whole[key], halves[key]) for key in whole), name
        if name != "ema":
            assert any(FAKE_SCORE in key or key.startswith("target_network.") for key in whole)


@pytest.mark.parametrize("options", [{"fake_updates": 0}, {"fake_learning_rate": 0.0}, {"fake_updats": 5}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        DistillationConfig(target="distribution_matching", target_options=options)


def test_less_guidance_is_baked_in_than_by_other_targets() -> None:
    assert [DistillationConfig(target=name).guidance for name in ("trajectory", "distribution_matching")] == [3, 1.5]
    assert DistillationConfig(target="distribution_matching", guidance_scale=4).guidance == 4
