"""The discriminator's turn: its losses against closed forms, and who learns when."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import ConfigError
from nas.models import VideoModel
from nas.models.weights import load_safetensors
from nas.training import LoopConfig
from nas.training.batches import Batch
from nas.training.distillation import AdversarialConfig, AdversarialTask, DistillationConfig, NoiseLevels, distill
from nas.training.distillation.adversarial import DISCRIMINATOR, gradient_penalty, hinge_loss
from nas.training.loop import Trainer
from nas.training.tasks import MODEL

TO = DistillationConfig(steps=2, target="data", adversarial=AdversarialConfig())
LOOP = LoopConfig(steps=4, batch_size=2, image_batch_size=2, warmup_steps=1, checkpoint_every=2)


def _task(teacher: VideoModel, config: DistillationConfig = TO) -> AdversarialTask:
    assert config.adversarial is not None
    return AdversarialTask(teacher, config, config.adversarial)


def test_the_hinge_is_open_between_the_margins_alone() -> None:
    right = [torch.full((2, 1, 3, 3), 1.5), torch.full((2, 1, 2, 2), 2.0)]
    wrong = [-each for each in right]
    assert hinge_loss(right, wrong).item() == 0
    assert hinge_loss(wrong, right).item() == pytest.approx((2.5 + 3.0) / 2 * 2)


def test_the_penalty_is_half_the_squared_gradient() -> None:
    torch.manual_seed(0)
    feature, weight = torch.randn(2, 3, 4, 5, 5, requires_grad=True), torch.tensor([1.0, -2.0, 0.5, 3.0])
    logits = torch.einsum("btchw,c->bthw", feature, weight)
    assert gradient_penalty([feature], [logits]).item() == pytest.approx(weight.square().sum().item() / 2)


def test_the_penalty_itself_can_be_learnt_from(teacher: VideoModel, batch: Batch) -> None:
    task = _task(teacher, DistillationConfig(adversarial=AdversarialConfig(r1_weight=10.0)))
    task(batch, 0, DISCRIMINATOR)["loss"].backward()
    head = task.discriminator.heads[0]
    assert all(parameter.grad is not None for parameter in head.judge.parameters())


@pytest.mark.parametrize("target", ["data", "trajectory", "consistency"])
def test_each_turn_teaches_its_own(teacher: VideoModel, batch: Batch, target: str) -> None:
    task = _task(teacher, DistillationConfig(target=target, adversarial=AdversarialConfig()))  # type: ignore[arg-type]
    assert [turn.name for turn in task.turns()] == [DISCRIMINATOR, MODEL]
    mine = {turn.name: {id(parameter) for parameter in turn.parameters} for turn in task.turns()}
    assert not mine[DISCRIMINATOR] & mine[MODEL]
    task(batch, 0, DISCRIMINATOR)["loss"].backward()
    assert all(parameter.grad is None for parameter in task.unet.parameters())
    task.zero_grad()
    losses = task(batch, 0, MODEL)
    losses["loss"].backward()
    assert any(parameter.grad is not None for parameter in task.unet.parameters())
    assert all(parameter.grad is None for parameter in task.teacher.parameters())
    weighed = losses["target_loss"] + TO.adversarial.weight * losses["adversarial_loss"]  # type: ignore[union-attr]
    torch.testing.assert_close(losses["loss"].detach(), weighed)


def test_a_discriminator_learns_to_tell_what_a_student_makes(teacher: VideoModel, batch: Batch) -> None:
    adversarial = AdversarialConfig(r1_weight=0, renoise=None)
    task = _task(teacher, DistillationConfig(steps=1, target="data", adversarial=adversarial))
    optimizer = torch.optim.AdamW(task.discriminator.parameters(), lr=1e-2)
    for step in range(80):
        torch.manual_seed(step)
        losses = task(batch, step, DISCRIMINATOR)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert losses["told_real"] > 0.8
    assert losses["told_generated"] > 0.8


def test_without_renoising_clips_are_judged_as_they_are(teacher: VideoModel, batch: Batch) -> None:
    seen: list[torch.Tensor] = []
    for renoise in (None, NoiseLevels()):
        task = _task(teacher, DistillationConfig(target="data", adversarial=AdversarialConfig(renoise=renoise)))
        whole = task.discriminator.features
        task.discriminator.features = lambda unet, sample, timestep, context, whole=whole: (  # type: ignore[method-assign]
            seen.append(timestep), whole(unet, sample, timestep, context)
        )[1]  # fmt: skip
        task(batch, 0, DISCRIMINATOR)
    without, with_noise = seen[:4], seen[4:]
    assert all((timestep == 0).all() for timestep in without)
    assert all((timestep > 0).all() for timestep in with_noise)
    # real and generated clips are judged at the same levels
    assert torch.equal(with_noise[0], with_noise[1])


def test_a_run_that_was_broken_off_goes_on_bit_for_bit(
    teacher: VideoModel, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill(teacher, clips, LOOP, TO, tmp_path / "whole")
    original = Trainer._turn

    def stopping(self, wrapped, optimizer, turn, progress):  # type: ignore[no-untyped-def]
        if progress.step == 3 and turn.name == MODEL:  # after the discriminator's turn
            raise KeyboardInterrupt
        return original(self, wrapped, optimizer, turn, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_turn", stopping)
        with pytest.raises(KeyboardInterrupt):
            distill(teacher, clips, LOOP, TO, tmp_path / "halves")
    distill(teacher, clips, LOOP, TO, tmp_path / "halves")
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
    original = Trainer._turn

    def noting(self, wrapped, optimizer, turn, progress):  # type: ignore[no-untyped-def]
        losses = original(self, wrapped, optimizer, turn, progress)
        rates.setdefault(turn.name, set()).add(max(group["lr"] for group in optimizer.param_groups))
        return losses

    monkeypatch.setattr(Trainer, "_turn", noting)
    to = DistillationConfig(adversarial=AdversarialConfig(learning_rate=5e-3))
    distill(teacher, clips, LOOP.model_copy(update={"learning_rate": 1e-4}), to, tmp_path)
    assert max(rates[DISCRIMINATOR]) == pytest.approx(5e-3)
    assert max(rates[MODEL]) == pytest.approx(1e-4)


def test_a_batch_of_one_clip_is_refused(teacher: VideoModel, clips: MovingShapes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size 1 lets an adversarial training collapse; use 2 or more"):
        distill(teacher, clips, LOOP.model_copy(update={"batch_size": 1}), TO, tmp_path)
