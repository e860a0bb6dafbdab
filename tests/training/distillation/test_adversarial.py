"""The discriminator's phase: its losses against closed forms, and who learns when."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import ConfigError
from nas.models import VideoModel
from nas.models.weights import load_safetensors
from nas.training import LoopConfig
from nas.training.distillation import AdversarialConfig, AdversarialTask, DistillationConfig, NoiseLevels, distill
from nas.training.distillation.adversarial import DISCRIMINATOR, gradient_penalty, hinge_loss
from nas.training.engine.task import MODEL
from nas.training.engine.trainer import Trainer
from nas.training.flow.batches import Batch
from nas.training.flow.rng import RNGKeys

TO = DistillationConfig(steps=2, target="data", adversarial=AdversarialConfig())
LOOP = LoopConfig(steps=4, batch_size=2, image_batch_size=2, warmup_steps=1, checkpoint_every=2)


def _task(teacher: VideoModel, config: DistillationConfig = TO) -> AdversarialTask:
    assert config.adversarial is not None
    return AdversarialTask(teacher, config, config.adversarial)


def test_the_hinge_is_open_between_the_margins_alone() -> None:
    right = [torch.full((2, 1, 3, 3), 1.5), torch.full((2, 1, 2, 2), 2.0)]
    wrong = [-logits for logits in right]
    assert hinge_loss(right, wrong).item() == 0
    assert hinge_loss(wrong, right).item() == pytest.approx((2.5 + 3.0) / 2 * 2)


def test_the_penalty_is_half_the_squared_gradient() -> None:
    torch.manual_seed(0)
    feature, weight = torch.randn(2, 3, 4, 5, 5, requires_grad=True), torch.tensor([1.0, -2.0, 0.5, 3.0])
    logits = torch.einsum("btchw,c->bthw", feature, weight)
    assert gradient_penalty([feature], [logits]).item() == pytest.approx(weight.square().sum().item() / 2)


def test_the_penalty_itself_can_be_learnt_from(teacher: VideoModel, batch: Batch) -> None:
    losses = {}
    for weight in (0.0, 2.0, 4.0):
        torch.manual_seed(5)
        task = _task(teacher, DistillationConfig(adversarial=AdversarialConfig(r1_weight=weight)))
        losses[weight] = task(batch, 0, DISCRIMINATOR)
    assert losses[2.0]["r1"] > 0
    for weight in (2.0, 4.0):
        more = losses[weight]["loss"] - losses[0.0]["loss"]
        torch.testing.assert_close(more.detach(), weight * losses[weight]["r1"], rtol=1e-3, atol=1e-6)
    (slope,) = torch.autograd.grad(losses[4.0]["loss"], task.discriminator.heads[0].text.weight, retain_graph=True)
    feature = torch.randn(2, 4, 16, 4, 4, requires_grad=True)
    logits = task.discriminator.heads[0](feature, torch.randn(2, 16))
    (own,) = torch.autograd.grad(gradient_penalty([feature], [logits]), task.discriminator.heads[0].text.weight)
    assert slope.abs().sum() > 0
    assert own.abs().sum() > 0


def test_a_student_learns_to_look_real_to_a_discriminator_that_stands_still(teacher: VideoModel, batch: Batch) -> None:
    adversarial = AdversarialConfig(target_weight=0, weight=1.0, renoise=None)
    task = _task(teacher, DistillationConfig(steps=1, target="data", adversarial=adversarial))

    def judged() -> float:
        """Mean logit of the clips that the student makes of given noise."""
        with torch.no_grad():
            step = task.student_step(batch.video_BTCHW, batch.video_tokens_BL, batch.video_keys.rng(MODEL))
            clips = step.noisy.sample_BTCHW - step.velocity_BTCHW
            features = task.discriminator.path(teacher.unet, clips, torch.zeros(len(clips)), step.context_BLD)
            return float(torch.stack([level.mean() for level in task.discriminator(features, step.context_BLD)]).mean())

    videos = dataclasses.replace(batch, image_BTCHW=batch.image_BTCHW[:0], image_tokens_BL=batch.image_tokens_BL[:0])
    before = judged()
    losses = task(videos, 0, MODEL)
    assert float(losses["adversarial_loss"]) == pytest.approx(-before, rel=1e-4)
    losses["loss"].backward()
    gradients = [parameter.grad for parameter in task.unet.parameters() if parameter.grad is not None]
    length = float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())
    assert length > 0
    with torch.no_grad():
        for parameter in task.unet.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=1e-3 / length)
    assert judged() - before == pytest.approx(1e-3 * length, rel=0.2)


@pytest.mark.parametrize("target", ["data", "trajectory", "consistency"])
def test_each_turn_teaches_its_own(teacher: VideoModel, batch: Batch, target: str) -> None:
    adversarial = AdversarialConfig(weight=0.5, target_weight=0.25)
    task = _task(teacher, DistillationConfig(target=target, adversarial=adversarial))
    assert [phase.name for phase in task.phases()] == [DISCRIMINATOR, MODEL]
    mine = {phase.name: {id(parameter) for parameter in phase.parameters} for phase in task.phases()}
    assert not mine[DISCRIMINATOR] & mine[MODEL]
    task(batch, 0, DISCRIMINATOR)["loss"].backward()
    assert all(parameter.grad is None for parameter in task.unet.parameters())
    task.zero_grad()
    losses = task(batch, 0, MODEL)
    losses["loss"].backward()
    assert any(parameter.grad is not None for parameter in task.unet.parameters())
    assert all(parameter.grad is None for parameter in task.teacher.parameters())
    weighed = 0.25 * losses["target_loss"] + 0.5 * losses["adversarial_loss"]
    torch.testing.assert_close(losses["loss"].detach(), weighed)


@pytest.mark.slow
def test_a_discriminator_learns_to_tell_what_a_student_makes(teacher: VideoModel, batch: Batch) -> None:
    adversarial = AdversarialConfig(r1_weight=0, renoise=None)
    task = _task(teacher, DistillationConfig(steps=1, target="data", adversarial=adversarial))
    optimizer = torch.optim.AdamW(task.discriminator.parameters(), lr=1e-2)
    for step in range(80):
        seeds = RNGKeys(step, batch.video_keys.numbers)
        losses = task(dataclasses.replace(batch, video_keys=seeds), step, DISCRIMINATOR)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert losses["accuracy_on_real"] > 0.8
    assert losses["accuracy_on_generated"] > 0.8


class Seen:
    """Notes what a discriminator looks at: noisy latents and their timesteps, generated ones first."""

    def __init__(self, task: AdversarialTask) -> None:
        self.path, self.samples, self.timesteps = task.discriminator.path, [], []
        task.discriminator.path = self  # type: ignore[assignment]

    def __call__(self, unet, sample, timestep, context):  # type: ignore[no-untyped-def]
        self.samples.append(sample)
        self.timesteps.append(timestep)
        return self.path(unet, sample, timestep, context)


def _judged(teacher: VideoModel, batch: Batch, **config: object) -> Seen:
    renoise = config.pop("renoise")
    adversarial = AdversarialConfig(renoise=renoise)  # type: ignore[arg-type]
    task = _task(teacher, DistillationConfig(adversarial=adversarial, **config))  # type: ignore[arg-type]
    seen = Seen(task)
    task(batch, 0, DISCRIMINATOR)
    return seen


def test_clips_are_judged_as_they_are_where_nothing_is_noised_again(teacher: VideoModel, batch: Batch) -> None:
    seen = _judged(teacher, batch, target="data", renoise=None)
    assert all((timestep == 0).all() for timestep in seen.timesteps)
    torch.testing.assert_close(seen.samples[1], batch.video_BTCHW)


def test_ends_of_steps_are_judged_at_their_noise_level_and_real_clips_with_as_much_noise(
    teacher: VideoModel, batch: Batch
) -> None:
    """Of two steps the first ends at level 1/2, the second at the clip."""
    seen = _judged(teacher, batch, steps=2, target="trajectory", renoise=None)
    ends = seen.timesteps[1]
    assert set(ends.tolist()) == {0.0, 500.0}
    assert torch.equal(seen.timesteps[0], ends)
    for clip, end in enumerate(ends.tolist()):
        noise = seen.samples[1][clip] - (1 - end / 1000) * batch.video_BTCHW[clip]
        assert noise.std().item() == pytest.approx(end / 1000, abs=0.05)


def test_noise_that_is_added_again_comes_on_top(teacher: VideoModel, batch: Batch) -> None:
    bare = _judged(teacher, batch, steps=2, target="trajectory", renoise=None)
    little = _judged(teacher, batch, steps=2, target="trajectory", renoise=NoiseLevels(mean=-3.0, std=0.1))
    for ends, levels in zip(bare.timesteps, little.timesteps, strict=True):
        expected = ends + (1000 - ends) * 0.047  # the logistic of -3
        torch.testing.assert_close(levels, expected, rtol=0, atol=15)
    assert torch.equal(little.timesteps[0], little.timesteps[1])


@pytest.mark.parametrize("settings", [{}, {"mixed_precision": "bf16", "gradient_accumulation": 2}])
def test_a_run_that_was_broken_off_goes_on_bit_for_bit(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    loop = LOOP.model_copy(update=settings)
    distill(teacher, clips, loop, TO, tmp_path / "whole")
    original = Trainer._phase

    def stopping(self, wrapped, optimizer, phase, progress):  # type: ignore[no-untyped-def]
        if progress.step == 3 and phase.name == MODEL:  # after the discriminator's phase
            raise KeyboardInterrupt
        return original(self, wrapped, optimizer, phase, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_phase", stopping)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, clips, loop, TO, tmp_path / "halves")
    distill(teacher, clips, loop, TO, tmp_path / "halves")
    for name in ("task", "ema", "optimizers"):
        file = f"checkpoints/step-00000004/{name}.safetensors"
        whole, halves = (load_safetensors(tmp_path / run / file) for run in ("whole", "halves"))
        assert whole.keys() == halves.keys()
        assert all(torch.equal(whole[key], halves[key]) for key in whole), name
    assert (tmp_path / "whole" / "checks.json").read_text() == (tmp_path / "halves" / "checks.json").read_text()


def test_the_turns_have_learning_rates_of_their_own(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: dict[str, set[float]] = {}
    original = Trainer._phase

    def noting(self, wrapped, optimizer, phase, progress):  # type: ignore[no-untyped-def]
        losses = original(self, wrapped, optimizer, phase, progress)
        rates.setdefault(phase.name, set()).add(max(group["lr"] for group in optimizer.param_groups))
        return losses

    monkeypatch.setattr(Trainer, "_phase", noting)
    to = DistillationConfig(adversarial=AdversarialConfig(learning_rate=5e-3))
    distill(teacher, clips, LOOP.model_copy(update={"learning_rate": 1e-4}), to, tmp_path)
    assert max(rates[DISCRIMINATOR]) == pytest.approx(5e-3)
    assert max(rates[MODEL]) == pytest.approx(1e-4)


def test_a_batch_of_one_clip_is_refused(teacher: VideoModel, clips: MovingShapes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size 1 lets an adversarial training collapse; use 2 or more"):
        distill(teacher, clips, LOOP.model_copy(update={"batch_size": 1}), TO, tmp_path)
