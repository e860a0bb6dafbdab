"""Adversarial distillation: beside its target, the student learns to look real to a discriminator.

After SF-V (Zhang et al. 2024, arXiv 2406.04324) and SnapGen-V (arXiv 2412.10494). The discriminator reads features of
the frozen teacher's down path. Noise is added to real and generated clips before it sees them. It learns by the hinge
loss with a penalty on its gradient.

Shape suffixes as in `nas.training.distillation.student_step`; N = T*H*W positions of a level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from nas.models import VideoModel
from nas.models.discriminator import Discriminator
from nas.models.flow import TIMESTEP_SCALE, mix, renoise
from nas.training.distillation.config import AdversarialConfig, DistillationConfig
from nas.training.distillation.task import DistillationTask
from nas.training.engine.task import MODEL, Losses, OptimizerPhase
from nas.training.flow.objective import logit_normal
from nas.training.flow.rng import BatchRNG

DISCRIMINATOR = "discriminator"

Levels = Sequence[torch.Tensor]
"""One tensor per level of the network: features (B, T, C, H, W) or logits (B, T, H, W)."""


class AdversarialTask(DistillationTask):
    """Distillation with a discriminator. In each training step the discriminator learns first, then the student.

    The discriminator judges the student's samples at the noise level that the target names (`DistillationTarget.level`)
    and compares them with real clips at the same level. A sample that is still noisy cannot look like a clean clip.

    Args:
        teacher: The model to learn from. The discriminator reads features of its network.
        config: Target, number of steps and guidance.
        adversarial: The adversarial term.
    """

    def __init__(self, teacher: VideoModel, config: DistillationConfig, adversarial: AdversarialConfig) -> None:
        super().__init__(teacher, config)
        self.adversarial = adversarial
        self.discriminator = Discriminator(teacher.unet.plan, adversarial.sees)

    def phases(self) -> tuple[OptimizerPhase, ...]:
        """The discriminator's phase, without momentum (beta1 = 0) as is usual for it, and then the student's."""
        parameters = tuple(self.discriminator.parameters())
        first = OptimizerPhase(DISCRIMINATOR, parameters, self.adversarial.learning_rate, adam_beta1=0.0)
        return first, *super().phases()

    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """The losses of the student, of the discriminator, or of the target's network, by phase."""
        if phase == MODEL:
            return self._student(latent_BTCHW, tokens_BL, rng)
        if phase == DISCRIMINATOR:
            return self._discriminator(latent_BTCHW, tokens_BL, rng)
        return super().losses(latent_BTCHW, tokens_BL, rng, step, phase)

    def _student(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG) -> Losses:
        step = self.student_step(latent_BTCHW, tokens_BL, rng)
        target = self.target.loss(step)
        level_B = self.target.level(step)
        renoised_B = self._renoised_level(level_B, rng)
        generated = self._features(step.sample_at(level_B), level_B, renoised_B, step.context_BLD, rng)
        adversarial = -_mean(self.discriminator(generated, step.context_BLD))
        loss = self.adversarial.target_weight * target + self.adversarial.weight * adversarial
        return {"loss": loss, "target_loss": target.detach(), "adversarial_loss": adversarial.detach()}

    def _discriminator(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG) -> Losses:
        with torch.no_grad():
            step = self.student_step(latent_BTCHW, tokens_BL, rng)
            level_B = self.target.level(step)
            renoised_B = self._renoised_level(level_B, rng)
            generated = self._features(step.sample_at(level_B), level_B, renoised_B, step.context_BLD, rng)
            real_BTCHW = mix(latent_BTCHW, rng.normal_like(latent_BTCHW), level_B).sample_BTCHW
            real = self._features(real_BTCHW, level_B, renoised_B, step.context_BLD, rng)
        real = tuple(feature.requires_grad_() for feature in real)
        real_logits = self.discriminator(real, step.context_BLD)
        generated_logits = self.discriminator(generated, step.context_BLD)
        r1 = gradient_penalty(real, real_logits) if self.adversarial.r1_weight else torch.zeros_like(renoised_B[0])
        return {
            "loss": hinge_loss(real_logits, generated_logits) + self.adversarial.r1_weight * r1,
            "r1": r1.detach(),
            "accuracy_on_real": _mean([(logits > 0).float() for logits in real_logits]),
            "accuracy_on_generated": _mean([(logits < 0).float() for logits in generated_logits]),
        }

    def _renoised_level(self, level_B: torch.Tensor, rng: BatchRNG) -> torch.Tensor:
        """Noise levels at which the discriminator sees samples of given noise levels."""
        noise = self.adversarial.renoise
        if noise is None:
            return level_B
        drawn_B = logit_normal(rng, noise.mean, noise.std).to(level_B)
        return level_B + (1 - level_B) * drawn_B

    def _features(
        self,
        sample_BTCHW: torch.Tensor,
        level_B: torch.Tensor,
        renoised_B: torch.Tensor,
        context_BLD: torch.Tensor,
        rng: BatchRNG,
    ) -> tuple[torch.Tensor, ...]:
        """The teacher's features of samples at `level_B`, after noise has taken them to `renoised_B`."""
        noisy_BTCHW = renoise(sample_BTCHW, rng.normal_like(sample_BTCHW), level_B, renoised_B)
        return self.discriminator.path(self.teacher, noisy_BTCHW, renoised_B * TIMESTEP_SCALE, context_BLD)


def hinge_loss(real: Levels, generated: Levels) -> torch.Tensor:
    """Hinge loss of logits (Lim and Ye 2017, arXiv 1705.02894), a mean over positions and then over levels."""
    return _mean([F.relu(1 - logits.float()) for logits in real]) + _mean(
        [F.relu(1 + logits.float()) for logits in generated]
    )


def gradient_penalty(features: Levels, logits: Levels) -> torch.Tensor:
    """R1 (Mescheder et al. 2018, arXiv 1801.04406), on the features that the heads read instead of on pixels.

    Sauer et al. 2023 (arXiv 2311.17042, section 3.2) apply it to features if the discriminator reads a frozen network.
    It is half the squared norm of the gradient of the summed logits, per position: a mean over positions and levels.

    Args:
        features: The features of real clips, which require gradients.
        logits: The logits of the heads for these features.
    """
    total = torch.stack([level.float().sum() for level in logits]).sum()
    gradients = torch.autograd.grad(total, list(features), create_graph=True)
    return _mean([gradient.float().square().sum(dim=2) for gradient in gradients]) / 2


def _mean(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([level.mean() for level in levels]).mean()
