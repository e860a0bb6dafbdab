"""What to distil to, and how."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nas.files import StrictModel
from nas.models.discriminator import Sees
from nas.training.engine.settings import Count, LoopConfig, Rate
from nas.training.flow.config import LogitDeviation, LogitMean

TargetName = Literal["data", "trajectory", "consistency"]
Steps = Annotated[int, Field(ge=1, le=1000)]


class NoiseLevels(StrictModel):
    """Logit-normal noise levels.

    Args:
        mean: Mean of the logit; above 0, more noise than data.
        std: Standard deviation of the logit.
    """

    mean: LogitMean = 0.0
    std: LogitDeviation = 1.0


class AdversarialConfig(StrictModel):
    """The adversarial term of a distillation.

    Args:
        weight: Weight of the adversarial loss of the student.
        target_weight: Weight of the target beside it.
        learning_rate: Peak learning rate of the discriminator, some ten times that of the student.
        r1_weight: Weight of the penalty on the discriminator's gradient at real clips; 0 for none.
        sees: Whether heads look at `frames`, along `time`, or at `both`.
        renoise: Noise that real and generated clips get before they are judged; none when set to null.
    """

    weight: Annotated[float, Field(gt=0, le=1e6)] = 0.2
    target_weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    learning_rate: Rate = 3e-3
    r1_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.01
    sees: Sees = "both"
    renoise: NoiseLevels | None = NoiseLevels()


class DistillationConfig(StrictModel):
    """What to distil to.

    Args:
        steps: Denoising steps of the student.
        target: What the student learns at the noise level of each of its steps. `data`: the clips themselves, which is
            fine-tuning on these levels. `trajectory`: to arrive, at the end of the step, where the guided teacher
            arrives in several. `consistency`: to foretell the clip that it foretells from there, too.
        teacher_substeps: Euler steps of the teacher per step of the student, 4 when left out; `data` has none.
        guidance_scale: Guidance of the teacher, which the student learns to do without, 3 when left out; `data` has
            no teacher.
        adversarial: A discriminator beside the target; none when left out.
    """

    steps: Steps = 4
    target: TargetName = "trajectory"
    teacher_substeps: Steps | None = None
    guidance_scale: Annotated[float, Field(ge=1, le=1e3)] | None = None
    adversarial: AdversarialConfig | None = None

    @property
    def substeps(self) -> int:
        """Euler steps of the teacher per step of the student."""
        return self.teacher_substeps or 4

    @property
    def guidance(self) -> float:
        """Guidance of the teacher."""
        return self.guidance_scale or 3.0

    @model_validator(mode="after")
    def _data_have_no_teacher(self) -> Self:
        for name in ("teacher_substeps", "guidance_scale"):
            if self.target == "data" and getattr(self, name) is not None:
                raise ValueError(f"{name} belongs to a teacher's path, and means nothing to target data")
        return self


class DistillationLoop(LoopConfig):
    """Length, batches and learning rate of a distillation; a `LoopConfig` whose defaults suit a trained model."""

    steps: Count = 500
    learning_rate: Rate = 3e-4


class DistillationSettings(StrictModel):
    """Everything that decides a distillation, beside the teacher and the clips.

    Args:
        training: Its loop.
        distillation: What to distil to.
    """

    training: DistillationLoop = DistillationLoop()
    distillation: DistillationConfig = DistillationConfig()
