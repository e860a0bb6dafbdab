"""Distillation to a few steps without guidance: targets, the discriminator's turn, and watching over both."""

from nas.training.distillation.adversarial import AdversarialTask
from nas.training.distillation.config import (
    AdversarialConfig,
    DistillationConfig,
    DistillationLoop,
    DistillationSettings,
    NoiseLevels,
)
from nas.training.distillation.run import DistillationResult, distill
from nas.training.distillation.task import DistillationTask

__all__ = [
    "AdversarialConfig",
    "AdversarialTask",
    "DistillationConfig",
    "DistillationLoop",
    "DistillationResult",
    "DistillationSettings",
    "DistillationTask",
    "NoiseLevels",
    "distill",
]
