"""The contract of a distillation target, as tests to inherit.

    class TestMyTarget(DistillationTargetConformance):
        target = "my_target"       # a registered name, or the class itself
        options = {"weight": 2.0}  # options that differ from the defaults

Shape suffixes as in `nas.training.distillation.student_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn

from nas.models.flow import TIMESTEP_SCALE, mix
from nas.training.distillation import (
    TARGETS,
    DistillationTarget,
    GuidedTeacher,
    LearningTarget,
    Renoising,
    StudentStep,
)

CLIPS, FRAMES, CHANNELS, SIDE = 3, 4, 3, 6
TEXT_SHAPE = (5, CHANNELS)
LEVELS = ((1.0, 0.75), (0.75, 0.25), (0.25, 0.0))
"""Noise levels at the start and the end of each clip's step."""
RENOISED = (0.3, 0.5, 0.8)
"""Noise levels at which the predicted clips are compared."""


class Network(nn.Module):
    """A small denoising network, in which every input and every weight matters."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, sample_BTCHW: torch.Tensor, timestep_B: torch.Tensor, context_BLD: torch.Tensor) -> torch.Tensor:
        """Predict the velocity."""
        text_BC = context_BLD.mean(dim=1) + (timestep_B / TIMESTEP_SCALE).reshape(-1, 1)
        mixed_BCTHW = self.convolution(sample_BTCHW.transpose(1, 2))
        return mixed_BCTHW.transpose(1, 2) + text_BC[:, None, :, None, None]  # type: ignore[no-any-return]


class DistillationTargetConformance:
    """Checks one target against the contract of `nas.training.distillation.DistillationTarget`.

    Attributes:
        target: The target: its registered name, or its class.
        options: Options that differ from the defaults.
    """

    target: ClassVar[str | type[DistillationTarget]]
    options: ClassVar[Mapping[str, Any]] = {}

    def build(self) -> DistillationTarget:
        """The target, with a teacher and a student of the same layout but different weights."""
        kind = TARGETS.get(self.target) if isinstance(self.target, str) else self.target
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            teacher, student = Network().requires_grad_(False), Network()
        empty_1LD = torch.zeros(1, *TEXT_SHAPE)
        return kind(kind.Config(**self.options), GuidedTeacher(teacher, lambda: empty_1LD, 2.0, 2), student)

    def step(self, target: DistillationTarget, frames: int = FRAMES, seed: int = 1) -> StudentStep:
        """A step of the target's student on random clips, from a different noise level in each clip."""
        generator = torch.Generator().manual_seed(seed)
        shape = (CLIPS, frames, CHANNELS, SIDE, SIDE)
        latent, noise = (torch.randn(shape, generator=generator) for _ in range(2))
        context_BLD = torch.randn(CLIPS, *TEXT_SHAPE, generator=generator)
        start_B, end_B = (torch.tensor(levels) for levels in zip(*LEVELS, strict=True))
        noisy = mix(latent, noise, start_B)
        velocity_BTCHW = target.student(noisy.sample_BTCHW, noisy.timestep_B, context_BLD)
        again = Renoising(torch.tensor(RENOISED), torch.randn(shape, generator=generator))
        renoising = again if target.own_samples else None
        return StudentStep(noisy, start_B, end_B, context_BLD, velocity_BTCHW, renoising)

    def test_every_option_has_a_default(self) -> None:
        """A target works without options."""
        type(self.build()).Config()

    def test_the_loss_is_a_finite_scalar_of_clips_and_of_single_frames(self) -> None:
        """Clips and single frames train together."""
        target = self.build()
        for frames in (1, FRAMES):
            loss = target.loss(self.step(target, frames))
            assert loss.shape == (), f"{frames} frames: the loss has shape {tuple(loss.shape)}"
            assert loss.isfinite(), f"{frames} frames: the loss is {loss}"

    def test_gradients_reach_the_student_and_not_the_teacher(self) -> None:
        """The student learns; the teacher stays as it is."""
        target = self.build()
        target.loss(self.step(target)).backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in target.student.parameters() if parameter.grad is not None]
        assert any(bool(gradient.abs().max() > 0) for gradient in gradients), "no weight of the student learns"
        assert all(bool(gradient.isfinite().all()) for gradient in gradients), "a gradient is not finite"
        assert all(parameter.grad is None for parameter in target.teacher.unet.parameters()), "the teacher learns"

    def test_the_loss_is_the_mean_over_the_clips(self) -> None:
        """A batch that is split over processes or micro-batches gives the same gradients."""
        target = self.build()
        whole = self.step(target)
        alone = torch.stack([target.loss(_clip(whole, index)) for index in range(CLIPS)])
        torch.testing.assert_close(target.loss(whole), alone.mean(), rtol=1e-4, atol=1e-6)

    def test_the_level_is_below_the_start_of_the_step(self) -> None:
        """A sample can be compared with real ones there, and noised again from there."""
        target = self.build()
        step = self.step(target)
        level_B = target.level(step)
        assert level_B.shape == step.start_B.shape
        assert bool((level_B >= 0).all()), f"levels are {level_B.tolist()}"
        assert bool((level_B < step.start_B).all()), f"levels are {level_B.tolist()}, starts {step.start_B.tolist()}"

    def test_it_is_deterministic_and_draws_no_random_numbers(self) -> None:
        """A resumed run trains as one that was never interrupted."""
        target = self.build()
        step = self.step(target)
        before = torch.random.get_rng_state()
        first = target.loss(step), target.level(step)
        assert torch.equal(torch.random.get_rng_state(), before), "it draws from torch's global generator"
        target.loss(self.step(target, seed=2))
        again = target.loss(step), target.level(step)
        assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))

    def test_a_network_of_its_own_learns_alone(self) -> None:
        """A target's network learns from the student's steps, and nothing else learns with it."""
        target = self.build()
        if not isinstance(target, LearningTarget):
            return
        with torch.no_grad():
            step = self.step(target)
        losses = target.network_losses(step)
        alone = torch.stack([target.network_losses(_clip(step, index))["loss"] for index in range(CLIPS)])
        torch.testing.assert_close(losses["loss"], alone.mean(), rtol=1e-4, atol=1e-6)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        assert {id(parameter) for parameter in target.phase().parameters} == {
            id(parameter) for parameter in target.network.parameters() if parameter.grad is not None
        }, "the phase updates other weights than the network's"
        others = [*target.student.parameters(), *target.teacher.unet.parameters()]
        assert all(parameter.grad is None for parameter in others), "the student or the teacher learns"

    def test_inputs_stay_as_they_were(self) -> None:
        """The discriminator sees the same step after the target."""
        target = self.build()
        step = self.step(target)
        target.loss(step)
        target.level(step)
        fresh = self.step(target)
        for name in ("start_B", "end_B", "context_BLD", "velocity_BTCHW"):
            assert torch.equal(getattr(step, name), getattr(fresh, name)), f"{name} has changed"
        assert torch.equal(step.noisy.sample_BTCHW, fresh.noisy.sample_BTCHW), "the noisy sample has changed"


def _clip(step: StudentStep, index: int) -> StudentStep:
    """One clip of a step."""
    part = slice(index, index + 1)
    noisy = replace(
        step.noisy,
        sample_BTCHW=step.noisy.sample_BTCHW[part],
        timestep_B=step.noisy.timestep_B[part],
        target_BTCHW=step.noisy.target_BTCHW[part],
    )
    again = step.renoising and Renoising(step.renoising.level_B[part], step.renoising.noise_BTCHW[part])
    return StudentStep(
        noisy, step.start_B[part], step.end_B[part], step.context_BLD[part], step.velocity_BTCHW[part], again
    )
