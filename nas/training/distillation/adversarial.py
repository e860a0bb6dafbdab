"""Adversarial distillation: beside its target, the student learns to look real to a discriminator.

After SF-V (Zhang et al. 2024, arXiv 2406.04324) and SnapGen-V (arXiv 2412.10494): the discriminator sees with the
frozen teacher's down path, real and generated clips are noised again before it, and it learns by the hinge loss with a
penalty on its gradient.

Shape suffixes as in `nas.training.distillation.student_step`; N = T*H*W places of a level.
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
"""What each level of the network says: features (B, T, C, H, W) or logits (B, T, H, W)."""


class AdversarialTask(DistillationTask):
    """Distillation with a discriminator; in each step it learns first, and the student after it.

    The student's clips are judged at the noise level that its target means it to arrive at, and real clips at the
    same one. A step that ends at noise is thus judged there: no clip can be seen in it that might look real.

    Args:
        teacher: The model to learn from, and to see with.
        config: What to distil to.
        adversarial: The adversarial term.
    """

    def __init__(self, teacher: VideoModel, config: DistillationConfig, adversarial: AdversarialConfig) -> None:
        super().__init__(teacher, config)
        self.adversarial = adversarial
        self.discriminator = Discriminator(teacher.unet.plan, adversarial.sees)

    def phases(self) -> tuple[OptimizerPhase, ...]:
        """See `TrainingTask.phases`; the discriminator's gradients are not averaged over steps, as is usual."""
        parameters = tuple(self.discriminator.parameters())
        first = OptimizerPhase(DISCRIMINATOR, parameters, self.adversarial.learning_rate, adam_beta1=0.0)
        return first, *super().phases()

    def losses(
        self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG, step: int, phase: str
    ) -> Losses:
        """See `JointTask.losses`."""
        if phase == MODEL:
            return self._student(latent_BTCHW, tokens_BL, rng)
        return self._discriminator(latent_BTCHW, tokens_BL, rng)

    def _student(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG) -> Losses:
        step = self.student_step(latent_BTCHW, tokens_BL, rng)
        target = self.target.loss(step)
        level_B = self.target.level(step)
        judged_B = self._judged_at(level_B, rng)
        made = self._seen(step.sample_at(level_B), level_B, judged_B, step.context_BLD, rng)
        adversarial = -_mean(self.discriminator(made, step.context_BLD))
        loss = self.adversarial.target_weight * target + self.adversarial.weight * adversarial
        return {"loss": loss, "target_loss": target.detach(), "adversarial_loss": adversarial.detach()}

    def _discriminator(self, latent_BTCHW: torch.Tensor, tokens_BL: torch.Tensor, rng: BatchRNG) -> Losses:
        with torch.no_grad():
            step = self.student_step(latent_BTCHW, tokens_BL, rng)
            level_B = self.target.level(step)
            judged_B = self._judged_at(level_B, rng)
            made = self._seen(step.sample_at(level_B), level_B, judged_B, step.context_BLD, rng)
            arriving = mix(latent_BTCHW, rng.normal_like(latent_BTCHW), level_B).sample_BTCHW
            real = self._seen(arriving, level_B, judged_B, step.context_BLD, rng)
        real = tuple(feature.requires_grad_() for feature in real)
        of_real = self.discriminator(real, step.context_BLD)
        of_made = self.discriminator(made, step.context_BLD)
        r1 = gradient_penalty(real, of_real) if self.adversarial.r1_weight else torch.zeros_like(judged_B[0])
        return {
            "loss": hinge_loss(of_real, of_made) + self.adversarial.r1_weight * r1,
            "r1": r1.detach(),
            "accuracy_on_real": _mean([(logits > 0).float() for logits in of_real]),
            "accuracy_on_generated": _mean([(logits < 0).float() for logits in of_made]),
        }

    def _judged_at(self, level_B: torch.Tensor, rng: BatchRNG) -> torch.Tensor:
        """Noise levels at which samples of given levels are judged."""
        noise = self.adversarial.renoise
        if noise is None:
            return level_B
        drawn_B = logit_normal(rng, noise.mean, noise.std).to(level_B)
        return level_B + (1 - level_B) * drawn_B

    def _seen(
        self,
        sample_BTCHW: torch.Tensor,
        level_B: torch.Tensor,
        judged_B: torch.Tensor,
        context_BLD: torch.Tensor,
        rng: BatchRNG,
    ) -> tuple[torch.Tensor, ...]:
        """Features of samples at a level, after they were noised to the one they are judged at."""
        noisy_BTCHW = renoise(sample_BTCHW, rng.normal_like(sample_BTCHW), level_B, judged_B)
        return self.discriminator.path(self.teacher, noisy_BTCHW, judged_B * TIMESTEP_SCALE, context_BLD)


def hinge_loss(of_real: Levels, of_made: Levels) -> torch.Tensor:
    """Hinge loss of logits (Lim and Ye 2017, arXiv 1705.02894), a mean over places and then over levels."""
    return _mean([F.relu(1 - logits.float()) for logits in of_real]) + _mean(
        [F.relu(1 + logits.float()) for logits in of_made]
    )


def gradient_penalty(features: Levels, logits: Levels) -> torch.Tensor:
    """R1 (Mescheder et al. 2018, arXiv 1801.04406), on the features that heads read instead of on pixels.

    That is where Sauer et al. 2023 (arXiv 2311.17042, section 3.2) put it for discriminators that see with a frozen
    network. Half the squared norm of the gradient of the summed logits, per place, a mean over places and levels.

    Args:
        features: What heads read, from which gradients flow.
        logits: What they said of them.
    """
    total = torch.stack([each.float().sum() for each in logits]).sum()
    gradients = torch.autograd.grad(total, list(features), create_graph=True)
    return _mean([gradient.float().square().sum(dim=2) for gradient in gradients]) / 2


def _mean(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([each.mean() for each in levels]).mean()
