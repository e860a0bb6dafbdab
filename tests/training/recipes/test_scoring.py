"""Scores of trained architectures: against the same done by hand, and blind to the order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.data import DataSplit, MovingShapes, prompts
from nas.errors import TrainingError
from nas.models.weights import weights_digest
from nas.quality import ClipMetric, FinetunedFlowLoss, TemporalFlicker
from nas.quality.clips.scoring import score_clips
from nas.space import SearchSpace
from nas.training import (
    SuperNetConfig,
    clip_quality,
    finetune_model,
    held_out_quality,
    inherit_model,
    supernet_quality,
)


@pytest.fixture
def supernet(finished_run: Path) -> Path:
    return finished_run


def finetuned(space: SearchSpace, folder: Path, split: DataSplit, *, steps: int, **options: int) -> FinetunedFlowLoss:
    metric = held_out_quality(space, folder, split, finetune_steps=steps, **options)
    assert isinstance(metric, FinetunedFlowLoss)
    return metric


def test_the_score_is_the_loss_of_the_network_trained_alone(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, supernet: Path, tmp_path: Path
) -> None:
    metric = finetuned(space, supernet, DataSplit(clips, clips), steps=5, seed=1, batches=2)
    one, other = space.architecture(["conv1d", "none"]), space.smallest()
    before = weights_digest(metric.models.supernet)

    score = metric.score(one)

    alone = inherit_model(space, supernet, one)
    settings = {"steps": 5, "seed": 1, "learning_rate": config.learning_rate / 2, "warmup_steps": 0}
    finetune_model(alone, clips, config.model_copy(update=settings), tmp_path / "alone")
    held_out = supernet_quality(space, supernet, clips, seed=1, batches=2)
    assert score == pytest.approx(held_out.loss_of(alone.unet, alone.text_encoder), rel=1e-5)
    assert score < held_out.score(one)
    parts = metric.score(one).parts
    assert parts == pytest.approx(held_out.loss_of(alone.unet, alone.text_encoder).parts, rel=1e-5)
    assert (len(set(parts)), sum(parts) / 2) == (2, pytest.approx(score))
    assert metric.score(other) != score
    assert metric.score(one) == score
    assert weights_digest(metric.models.supernet) == before


def test_a_network_that_was_not_trained_on_scores_as_in_the_supernet(
    space: SearchSpace, clips: MovingShapes, supernet: Path
) -> None:
    held_out = supernet_quality(space, supernet, clips, batches=1)
    for architecture in space.enumerate():
        alone = inherit_model(space, supernet, architecture)
        assert held_out.loss_of(alone.unet, alone.text_encoder) == pytest.approx(held_out.score(architecture), rel=1e-6)


def test_what_decides_the_score_is_in_the_fingerprint(space: SearchSpace, clips: MovingShapes, supernet: Path) -> None:
    split = DataSplit(clips, clips)
    variants = [{"steps": 5}, {"steps": 6}, {"steps": 5, "seed": 1}, {"steps": 5, "batches": 1}]
    digests = {finetuned(space, supernet, split, **options).fingerprint for options in variants}
    assert len(digests) == len(variants)
    assert finetuned(space, supernet, split, steps=5).fingerprint in digests


@pytest.mark.parametrize(("value", "complaint"), [(1e30, "diverged"), (torch.nan, "not finite before the first step")])
def test_diverged_training_is_a_failed_evaluation(
    space: SearchSpace, clips: MovingShapes, supernet: Path, value: float, complaint: str
) -> None:
    metric = finetuned(space, supernet, DataSplit(clips, clips), steps=3)
    with torch.no_grad():
        for parameter in metric.models.supernet.parameters():
            parameter.fill_(value)

    with pytest.raises(ArithmeticError, match=complaint):
        metric.score(space.smallest())


class Brightness(ClipMetric):
    """Mean distance of a clip's brightness from that of its real one."""

    name, direction = "brightness", "minimize"

    def describe(self, video_BTCHW: torch.Tensor, prompts: Sequence[str]) -> np.ndarray:
        return video_BTCHW.double().mean(dim=(1, 2, 3, 4)).numpy()[:, None]

    def value(self, generated_BK: np.ndarray, real_BK: np.ndarray) -> float:
        return float(np.abs(generated_BK - real_BK).mean())


@pytest.mark.parametrize("finetune_steps", [None, 3])
def test_clips_are_judged_as_those_of_the_model_itself(
    space: SearchSpace, clips: MovingShapes, supernet: Path, finetune_steps: int | None
) -> None:
    asked, one = prompts(4), space.architecture(["conv1d", "none"])
    training = {} if finetune_steps is None else {"finetune_steps": finetune_steps, "clips": clips}
    metric = clip_quality(space, supernet, Brightness(), asked, seed=2, **training)
    model = inherit_model(space, supernet, one)
    (score,) = score_clips(model, [Brightness()], asked, seed=2)
    if finetune_steps is None:
        assert metric.score(one) == pytest.approx(score.generated.value)
    else:
        assert metric.score(one) != score.generated.value
    assert metric.score(one) == metric.score(one)
    assert (metric.name, metric.direction, metric.detail) == ("brightness", "minimize", "4 clips")


def test_scores_of_other_weights_prompts_or_classifiers_are_not_compared(
    space: SearchSpace, clips: MovingShapes, supernet: Path
) -> None:
    def digest(count: int = 4, **options: Any) -> str:
        return clip_quality(space, supernet, Brightness(), prompts(count), **options).fingerprint

    alone = digest(finetune_steps=3, clips=clips)
    assert len({digest(), digest(count=5), digest(seed=1), alone, digest(depends_on="weights")}) == 5
    assert digest() == digest()


def test_clips_that_are_not_finite_are_no_score(space: SearchSpace, supernet: Path) -> None:
    metric = clip_quality(space, supernet, TemporalFlicker(), prompts(2))
    torch.nn.init.constant_(metric.model_of.supernet.get_submodule("conv_out").weight, float("nan"))  # type: ignore[attr-defined]
    with pytest.raises(TrainingError, match="is not finite"):
        metric.score(space.smallest())
