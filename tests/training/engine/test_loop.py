from __future__ import annotations

import csv
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import CheckpointError, DataError, OutOfMemoryError, TrainingError
from nas.models import SuperNet, VideoModel, make_codec, make_text_encoder
from nas.models.weights import load_safetensors
from nas.space import SearchSpace
from nas.training import SuperNetConfig, SuperNetTask, TrainingConfig, finetune_model, load_supernet, train_supernet
from nas.training.engine.processes import make_accelerator
from nas.training.engine.trainer import Trainer
from nas.training.flow.batches import Batch, BatchSource


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_safetensors(folder / "supernet" / "supernet.safetensors")


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def _stop_before(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Interrupt the run before it makes a step, or a later one."""
    original = Trainer._step

    def stopping(self, wrapped, optimizer, progress):  # type: ignore[no-untyped-def]
        if progress.step >= step:
            raise KeyboardInterrupt
        return original(self, wrapped, optimizer, progress)

    monkeypatch.setattr(Trainer, "_step", stopping)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    space: SearchSpace,
    clips: MovingShapes,
    config: SuperNetConfig,
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        _stop_before(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            train_supernet(space, clips, config, tmp_path / "halves")
    assert not (tmp_path / "halves" / "supernet").exists()
    result = train_supernet(space, clips, config, tmp_path / "halves")
    assert result.steps == 6
    whole, halves = _weights(finished_run), _weights(tmp_path / "halves")
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_a_finished_run_is_not_trained_again(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _weights(run_copy)
    shutil.rmtree(run_copy / "supernet")
    _stop_before(monkeypatch, 0)
    again = train_supernet(space, clips, config, run_copy)
    assert again.steps == 6
    losses = [float(row["loss"]) for row in _rows(run_copy)]
    assert again.final_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in _weights(run_copy).items())


def test_only_the_newest_checkpoints_are_kept(finished_run: Path) -> None:
    names = sorted(folder.name for folder in (finished_run / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000006"]


@pytest.mark.parametrize("strategy", ["fair", "sandwich"])
def test_every_strategy_resumes_bit_for_bit(
    space: SearchSpace,
    clips: MovingShapes,
    config: SuperNetConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
) -> None:
    changes = {"strategy": strategy, "skip_probability": 0.3, "gradient_accumulation": 2, "mixed_precision": "bf16"}
    config = config.model_copy(update=changes | {"steps": 4})
    train_supernet(space, clips, config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        _stop_before(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train_supernet(space, clips, config, tmp_path / "halves")
    train_supernet(space, clips, config, tmp_path / "halves")
    whole, halves = _weights(tmp_path / "whole"), _weights(tmp_path / "halves")
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


@pytest.mark.parametrize("change", ["learning_rate", "data", "space", "strategy"])
def test_a_checkpoint_of_something_else_is_refused(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, run_copy: Path, change: str
) -> None:
    if change == "learning_rate":
        config = config.model_copy(update={"learning_rate": 0.5})
    elif change == "strategy":
        config = config.model_copy(update={"strategy": "fair"})
    elif change == "data":
        clips = MovingShapes(clips.shape, clips=12, seed=1)
    else:
        space = SearchSpace.from_dict(space.to_dict() | {"prediction": "velocity"})
    with pytest.raises(CheckpointError, match=r"step-00000006: was written by another .*choose another output folder"):
        train_supernet(space, clips, config, run_copy)


FILES = ("task.safetensors", "ema.safetensors", "optimizers.safetensors", "state.json")


@pytest.mark.parametrize("name", FILES)
def test_a_checkpoint_cut_in_half_is_noticed_and_the_one_before_it_used(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, run_copy: Path, name: str, caplog
) -> None:
    whole = _weights(run_copy)
    shutil.rmtree(run_copy / "supernet")
    file = run_copy / "checkpoints" / "step-00000006" / name
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    train_supernet(space, clips, config, run_copy)
    assert f"step-00000006/{name}" in caplog.text
    assert "resuming from an earlier checkpoint" in caplog.text
    assert all(torch.equal(whole[weight], tensor) for weight, tensor in _weights(run_copy).items())
    caplog.clear()
    train_supernet(space, clips, config, run_copy)
    assert not caplog.text


@pytest.mark.parametrize("name", FILES[:3])
def test_a_checkpoint_with_a_flipped_bit_is_noticed(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, run_copy: Path, name: str, caplog
) -> None:
    file = run_copy / "checkpoints" / "step-00000006" / name
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    train_supernet(space, clips, config, run_copy)
    assert f"{name}: is damaged: its digest is not the one that was written" in caplog.text


def test_where_no_checkpoint_is_whole_it_is_one_clear_line(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, run_copy: Path
) -> None:
    for folder in (run_copy / "checkpoints").iterdir():
        file = folder / "optimizers.safetensors"
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"step-00000006/optimizers\.safetensors: all checkpoints .*delete"):
        train_supernet(space, clips, config, run_copy)


def test_divergence_is_named_and_the_last_checkpoint_stays(
    space: SearchSpace, clips: MovingShapes, tmp_path: Path
) -> None:
    config = SuperNetConfig(
        steps=30, batch_size=2, image_batch_size=0, learning_rate=1e18, warmup_steps=0, checkpoint_every=1
    )
    with pytest.raises(TrainingError, match=r"loss is .* at step \d+; training diverged; lower the learning rate"):
        train_supernet(space, clips, config, tmp_path)
    assert list((tmp_path / "checkpoints").glob("step-*"))
    assert not (tmp_path / "supernet").exists()


def test_without_averaging_the_result_is_the_last_step(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, tmp_path: Path
) -> None:
    train_supernet(space, clips, config.model_copy(update={"ema_decay": 0.0, "steps": 2}), tmp_path)
    raw = load_safetensors(tmp_path / "checkpoints" / "step-00000002" / "task.safetensors")
    for name, tensor in _weights(tmp_path).items():
        torch.testing.assert_close(tensor, raw[f"unet.{name}"])


def test_averaged_weights_differ_from_the_last_step(finished_run: Path) -> None:
    raw = load_safetensors(finished_run / "checkpoints" / "step-00000006" / "task.safetensors")
    assert any(not torch.equal(tensor, raw[f"unet.{name}"]) for name, tensor in _weights(finished_run).items())


def test_metrics_hold_each_logged_step_once_after_a_resume(
    space: SearchSpace, clips: MovingShapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SuperNetConfig(steps=25, batch_size=1, image_batch_size=1, checkpoint_every=5)
    with monkeypatch.context() as patch:
        _stop_before(patch, 14)
        with pytest.raises(KeyboardInterrupt):
            train_supernet(space, clips, config, tmp_path)
    assert [row["step"] for row in _rows(tmp_path)] == ["1", "10"]
    train_supernet(space, clips, config, tmp_path)
    rows = _rows(tmp_path)
    assert [row["step"] for row in rows] == ["1", "10", "20", "25"]
    assert set(rows[0]) == {"step", "loss", "video_loss", "image_loss", "learning_rate", "elapsed_s"}
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_time_budget_ends_the_run_and_anneals_the_rate(
    space: SearchSpace, clips: MovingShapes, tmp_path: Path
) -> None:
    config = SuperNetConfig(steps=100_000, max_minutes=0.03, batch_size=1, image_batch_size=0, warmup_steps=0)
    result = train_supernet(space, clips, config, tmp_path)
    assert 0 < result.steps < 100_000
    assert 1.8 <= result.elapsed_s < 10
    rates = [float(row["learning_rate"]) for row in _rows(tmp_path)]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.5 * rates[0]


class _Late(torch.Tensor):
    """A number that is there 0.1 s after it is asked for, as that of a card that is not done yet."""

    def __float__(self) -> float:
        time.sleep(0.1)
        return float(self.as_subclass(torch.Tensor))


class _LateTask(SuperNetTask):
    def forward(self, *inputs: Any) -> dict[str, torch.Tensor]:
        losses = super().forward(*inputs)
        return losses | {"told": losses["loss"].detach().as_subclass(_Late)}


def test_the_time_of_a_step_is_what_it_takes_until_its_losses_are_there(
    space: SearchSpace, clips: MovingShapes, tmp_path: Path
) -> None:
    config = SuperNetConfig(steps=3, batch_size=1, image_batch_size=0)
    task = _LateTask(SuperNet(space), make_text_encoder(space), config)
    batches = BatchSource(clips.latents(make_codec(space)), task.text_encoder, 1, 0, 0.0, seed=1)
    trainer: Trainer[Batch] = Trainer(
        task, batches, config, tmp_path, fingerprint="", accelerator=make_accelerator(config), label=""
    )
    result = trainer.run()
    assert result.elapsed_s >= 3 * 0.1
    assert float(_rows(tmp_path)[-1]["elapsed_s"]) == pytest.approx(result.elapsed_s, rel=1e-3)


def test_training_lowers_the_loss(space: SearchSpace, clips: MovingShapes, tmp_path: Path) -> None:
    config = SuperNetConfig(steps=40, batch_size=4, image_batch_size=0, learning_rate=3e-3, warmup_steps=5)
    train_supernet(space, clips, config, tmp_path)
    losses = [float(row["loss"]) for row in _rows(tmp_path)]
    assert sum(losses[-3:]) / 3 < 0.6 * losses[0]


def test_a_supernet_of_another_space_is_refused(space: SearchSpace, finished_run: Path, tmp_path: Path) -> None:
    load_supernet(space, finished_run)
    other = SearchSpace.from_dict(space.to_dict() | {"name": "other"})
    with pytest.raises(CheckpointError, match=r"was trained for another search space \(tiny\)"):
        load_supernet(other, finished_run)
    with pytest.raises(CheckpointError, match="holds no trained supernet; make one with `nas train`"):
        load_supernet(space, tmp_path / "nowhere")


def test_weights_that_come_in_not_finite_are_no_divergence(
    model: VideoModel, clips: MovingShapes, tmp_path: Path
) -> None:
    name, weight = next(iter(model.unet.named_parameters()))
    weight.data.view(-1)[0] = torch.nan
    with pytest.raises(
        CheckpointError, match=rf"weight unet\.{name} is not finite before the first step; .* start from"
    ):
        finetune_model(model, clips, TrainingConfig(steps=2, batch_size=1, image_batch_size=0), tmp_path)


def test_clips_that_are_not_finite_are_no_divergence(space: SearchSpace, clips: MovingShapes, tmp_path: Path) -> None:
    settings = SuperNetConfig(steps=3, batch_size=2, image_batch_size=0)
    task = SuperNetTask(SuperNet(space), make_text_encoder(space), settings)
    source = BatchSource(clips.latents(make_codec(space)), task.text_encoder, 2, 0, 0.0, seed=1)

    def draw(step: int) -> Batch:
        batch = source(step)
        if step == 1:
            batch.video_BTCHW[1, 0, 0, 0, 0] = torch.inf
        return batch

    accelerator = make_accelerator(settings)
    trainer = Trainer(task, draw, settings, tmp_path, fingerprint="", accelerator=accelerator, label="")
    with pytest.raises(DataError, match=r"clips of step 2 hold numbers that are not finite \(video_BTCHW\); repair"):
        trainer.run()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_a_step_that_does_not_fit_says_what_to_set(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, tmp_path: Path, monkeypatch, error: Exception
) -> None:
    def fail(self, latent_BTCHW, tokens_BL, rng, step, phase):  # type: ignore[no-untyped-def]
        raise error

    monkeypatch.setattr(SuperNetTask, "losses", fail)
    with pytest.raises(
        OutOfMemoryError, match="not enough memory for a step of the training; set gradient_checkpointing"
    ):
        train_supernet(space, clips, config, tmp_path)
