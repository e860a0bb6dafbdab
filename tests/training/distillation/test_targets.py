"""What a student learns, against definitions written out for single clips."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nas.models import VideoModel
from nas.models.flow import mix, renoise
from nas.training.distillation import DistillationConfig, DistillationTask
from nas.training.distillation.targets import pseudo_huber
from nas.training.engine.task import MODEL
from nas.training.flow.batches import Batch


def _videos(batch: Batch) -> Batch:
    empty = batch.image_BTCHW[:0]
    return dataclasses.replace(batch, image_BTCHW=empty, image_tokens_BL=batch.image_tokens_BL[:0])


def _drawn(batch: Batch, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Segments and noise of the clips."""
    rng = batch.video_keys.rng(MODEL)
    return rng.below(steps), rng.normal_like(batch.video_BTCHW)


def _velocity(teacher: VideoModel, sample: torch.Tensor, level: float, text: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return teacher.unet(sample, torch.full((len(sample),), 1000 * level), text)  # type: ignore[no-any-return]


def _guided(teacher: VideoModel, sample: torch.Tensor, level: float, text: torch.Tensor, scale: float) -> torch.Tensor:
    with torch.no_grad():
        plain = _velocity(teacher, sample, level, teacher.text_encoder.encode([""] * len(sample)))
    return plain + scale * (_velocity(teacher, sample, level, text) - plain)


def test_without_guidance_and_substeps_the_teacher_is_its_own_student(teacher: VideoModel, batch: Batch) -> None:
    task = DistillationTask(teacher, DistillationConfig(teacher_substeps=1, guidance_scale=1.0))
    assert float(task(batch, 0)["loss"].detach()) < 1e-9


def test_a_trajectory_leads_to_where_the_guided_teacher_arrives(teacher: VideoModel, batch: Batch) -> None:
    task = DistillationTask(teacher, DistillationConfig(steps=1, teacher_substeps=2, guidance_scale=3.0))
    loss = task(_videos(batch), 0)["loss"].detach()
    noise = _drawn(batch, 1)[1]
    text = teacher.text_encoder(batch.video_tokens_BL).detach()
    sample = noise
    for level in (1.0, 0.5):
        sample = sample - 0.5 * _guided(teacher, sample, level, text, 3.0)
    own = noise - _velocity(teacher, noise, 1.0, text)
    torch.testing.assert_close(loss, ((own - sample) ** 2).mean(), rtol=1e-4, atol=1e-6)


def test_data_are_flow_matching_on_the_levels_of_the_steps(teacher: VideoModel, batch: Batch) -> None:
    task = DistillationTask(teacher, DistillationConfig(steps=1, target="data"))
    loss = task(_videos(batch), 0)["loss"].detach()
    noise = _drawn(batch, 1)[1]
    velocity = _velocity(teacher, noise, 1.0, teacher.text_encoder(batch.video_tokens_BL).detach())
    torch.testing.assert_close(loss, ((velocity - (noise - batch.video_BTCHW)) ** 2).mean())


def test_consistency_predicts_the_clip_that_is_predicted_at_the_end_of_the_step(
    teacher: VideoModel, batch: Batch
) -> None:
    task = DistillationTask(
        teacher, DistillationConfig(steps=2, target="consistency", teacher_substeps=1, guidance_scale=2.0)
    )
    loss = task(_videos(batch), 0)["loss"].detach()
    drawn, noise = _drawn(batch, 2)
    segments = drawn.tolist()
    assert set(segments) == {0, 1}
    expected = []
    for clip, segment in enumerate(segments):
        start, end = ((1.0, 0.5), (0.5, 0.0))[segment]
        latent = batch.video_BTCHW[clip : clip + 1]
        text = teacher.text_encoder(batch.video_tokens_BL[clip : clip + 1]).detach()
        begun = (1 - start) * latent + start * noise[clip : clip + 1]
        arrived = begun - (start - end) * _guided(teacher, begun, start, text, 2.0)
        predicted = arrived - end * _velocity(teacher, arrived, end, text) if end else arrived
        own = begun - start * _velocity(teacher, begun, start, text)
        expected.append(pseudo_huber(own, predicted))
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-4, atol=1e-6)


def test_only_the_student_is_trained(teacher: VideoModel) -> None:
    task = DistillationTask(teacher, DistillationConfig())
    student = {id(parameter) for parameter in task.unet.parameters()}
    assert {id(parameter) for parameter in task.trained_parameters()} == student
    assert not task.train().teacher.training


def test_data_have_no_teacher_to_be_guided() -> None:
    with pytest.raises(ValueError, match="guidance_scale is only for targets that use the teacher"):
        DistillationConfig(target="data", guidance_scale=2.0)


def test_pseudo_huber_is_a_length_far_away_and_a_square_nearby() -> None:
    zero = torch.zeros(2, 3, 4, 5, 6)
    assert pseudo_huber(zero + 5, zero).item() == pytest.approx(5 - 0.03, abs=1e-3)
    assert pseudo_huber(zero + 1e-3, zero).item() == pytest.approx(1e-6 / (2 * 0.03), rel=1e-2)


@pytest.mark.parametrize(("level", "higher"), [(0.0, 0.7), (0.5, 0.5), (0.5, 0.9), (0.9, 1.0)])
def test_renoising_gives_samples_of_the_higher_level(level: float, higher: float) -> None:
    torch.manual_seed(0)
    data = torch.full((1, 1, 1, 300, 300), 2.0)
    sample = mix(data, torch.randn_like(data), torch.tensor([level])).sample_BTCHW
    there = renoise(sample, torch.randn_like(data), torch.tensor([level]), torch.tensor([higher]))
    assert there.mean().item() == pytest.approx(2 * (1 - higher), abs=0.02)
    assert there.std().item() == pytest.approx(higher, abs=0.01)


def test_a_trajectory_can_begin_where_the_student_itself_arrives(teacher: VideoModel, batch: Batch) -> None:
    options = {"own_samples": True}
    task = DistillationTask(
        teacher, DistillationConfig(steps=2, target_options=options, teacher_substeps=1, guidance_scale=2.0)
    )
    with torch.no_grad():
        for parameter in task.unet.parameters():
            parameter.mul_(1.1)
    loss = task(_videos(batch), 0)["loss"].detach()
    segments, noise = _drawn(batch, 2)
    student, expected = dataclasses.replace(teacher, unet=task.unet), []
    for clip, segment in enumerate(segments.tolist()):
        text = teacher.text_encoder(batch.video_tokens_BL[clip : clip + 1]).detach()
        sample, start = noise[clip : clip + 1], 1.0
        if segment:
            sample, start = sample - 0.5 * _velocity(student, sample, 1.0, text), 0.5
        wanted = _guided(teacher, sample, start, text, 2.0)
        expected.append(((_velocity(student, sample, start, text) - wanted) ** 2).mean())
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-4, atol=1e-6)
    assert segments.any()
