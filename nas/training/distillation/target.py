"""What a distillation target is, and the registry of all targets.

Shape suffixes as in `nas.training.distillation.student_step`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn

from nas.files import StrictModel
from nas.registry import Registry
from nas.training.distillation.student_step import GuidedTeacher, StudentStep
from nas.training.engine.task import Losses, OptimizerPhase


class DistillationTarget(ABC):
    """What the student learns in each of its denoising steps.

    The contract, which `nas.testing.DistillationTargetConformance` checks:

    - `Config` holds the options of the target. Every option has a default.
    - `loss` is finite, and it is the mean over the clips of the batch: the loss of a clip does not depend on the other
      clips. It works on single frames (T = 1) as well as on clips.
    - Gradients of `loss` reach the student's prediction and stay out of the teacher.
    - `loss` and `level` are deterministic and draw no random numbers, so that a resumed run trains as an uninterrupted
      one.
    - `level` is 0 or more, and below the noise level at the start of the step.
    - If `own_samples` is true, steps start from samples that the student has made itself, and have a `renoising`.

    A target of another package registers in the entry-point group `nas.distillation_targets`.

    Args:
        config: The options.
        teacher: The frozen teacher.
        student: The student's network. It is called as `student(sample_BTCHW, timestep_B, context_BLD)`.
    """

    Config: ClassVar[type[StrictModel]] = StrictModel
    uses_teacher: ClassVar[bool] = True
    """Whether the student learns from the teacher's samples. It learns from real clips alone if not: then
    `guidance_scale` and `teacher_substeps` are refused, and the student's clips are compared with real ones."""
    default_guidance: ClassVar[float] = 3.0
    """Guidance of the teacher where the settings name none."""
    own_samples: bool = False
    """Whether steps start from the student's own samples, instead of from real clips with noise."""

    def __init__(self, config: StrictModel, teacher: GuidedTeacher, student: nn.Module) -> None:
        self.config, self.teacher, self.student = config, teacher, student

    @abstractmethod
    def loss(self, step: StudentStep) -> torch.Tensor:
        """The loss of a step of the student; a scalar."""

    @abstractmethod
    def level(self, step: StudentStep) -> torch.Tensor:
        """Noise levels (B,) of the samples that the student should produce; a discriminator judges them there."""


class LearningTarget(DistillationTarget):
    """A target with a network of its own, which learns in each training step before the student.

    Beside the contract of `DistillationTarget`:

    - `network` is made by `__init__`. Checkpoints hold it, and every process holds it whole.
    - `network_losses` has scalars, each a mean over the clips of the batch. `loss` is minimised. Its gradients reach
      `network`, and neither the student nor the teacher. It draws no random numbers.
    - `phase` has a name that no other phase has.
    """

    network: nn.Module

    @abstractmethod
    def phase(self) -> OptimizerPhase:
        """The phase in which the network learns."""

    @abstractmethod
    def network_losses(self, step: StudentStep) -> Losses:
        """Losses of the network, from a step of the student without gradients."""


TARGETS: Registry[DistillationTarget] = Registry(
    "distillation target",
    "nas.distillation_targets",
    f"{__name__}:DistillationTarget",
    {
        "data": "nas.training.distillation.targets:DataTarget",
        "trajectory": "nas.training.distillation.targets:TrajectoryTarget",
        "consistency": "nas.training.distillation.targets:ConsistencyTarget",
        "distribution_matching": "nas.training.distillation.distribution_matching:DistributionMatchingTarget",
    },
)
