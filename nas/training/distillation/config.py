"""Settings of a distillation."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from nas.errors import ConfigError
from nas.files import StrictModel, parse, validation_errors
from nas.models.discriminator import Sees
from nas.training.distillation.target import TARGETS, DistillationTarget
from nas.training.engine.settings import Count, LoopConfig, Rate
from nas.training.flow.config import LogitDeviation, LogitMean

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
        target_weight: Weight of the target's loss beside it.
        learning_rate: Peak learning rate of the discriminator, about ten times that of the student.
        r1_weight: Weight of the penalty on the discriminator's gradient at real clips; 0 for none.
        sees: Whether the heads look at `frames`, along `time`, or at `both`.
        renoise: Noise that is added to real and generated clips before they are judged; none when set to null.
    """

    weight: Annotated[float, Field(gt=0, le=1e6)] = 0.2
    target_weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    learning_rate: Rate = 3e-3
    r1_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.01
    sees: Sees = "both"
    renoise: NoiseLevels | None = NoiseLevels()


class DistillationConfig(StrictModel):
    """Target, number of steps and guidance of a distillation.

    Args:
        steps: Denoising steps of the student.
        target: What the student learns in each of its steps, a registered name. `data`: the real clips, which is
            fine-tuning at the noise levels of its steps. `trajectory`: to take one step to the point that the guided
            teacher reaches in several. `consistency`: to predict the same clip as from that point.
            `distribution_matching`: to make clips that are as likely as the guided teacher's; with `adversarial`, DMD2.
        target_options: Options of the target that differ from its defaults.
        teacher_substeps: Euler steps of the teacher per step of the student, 4 when left out. Only for targets that
            learn from the teacher.
        guidance_scale: Guidance of the teacher, which the student learns to do without. When left out it is 3, and 1.5
            for `distribution_matching`. Only for targets that learn from the teacher.
        adversarial: A discriminator beside the target; none when left out.
    """

    steps: Steps = 4
    target: str = "trajectory"
    target_options: dict[str, Any] = {}
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
        return self.guidance_scale or self.target_class.default_guidance

    @property
    def target_class(self) -> type[DistillationTarget]:
        """The class of the target."""
        return TARGETS.get(self.target)

    @field_validator("target")
    @classmethod
    def _known(cls, name: str) -> str:
        with validation_errors():
            TARGETS.get(name)
        return name

    @field_validator("target_options")
    @classmethod
    def _belong_to_the_target(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "target" not in info.data:  # it is unknown, which is reported already
            return options
        target = info.data["target"]
        with validation_errors():
            config = TARGETS.get(target).Config
            if options and not config.model_fields:
                raise ConfigError(f"target {target} has no options, got {', '.join(options)}")
            parsed = parse(options, config, where=None)
        return parsed.model_dump(mode="json", exclude_defaults=True)

    @model_validator(mode="after")
    def _teacher_is_used(self) -> Self:
        for name in ("teacher_substeps", "guidance_scale"):
            if getattr(self, name) is not None and not self.target_class.uses_teacher:
                raise ValueError(f"{name} is only for targets that use the teacher, and {self.target} does not")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_options(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omits empty `target_options`, as earlier versions did, so that the digests of their runs stay valid."""
        values: dict[str, Any] = serialize(self)
        if not self.target_options:
            values.pop("target_options", None)
        return values


class DistillationLoop(LoopConfig):
    """Length, batches and learning rate of a distillation: a `LoopConfig` with defaults for a trained model."""

    steps: Count = 500
    learning_rate: Rate = 3e-4


class DistillationSettings(StrictModel):
    """All settings of a distillation.

    Args:
        training: Length, batches and learning rate.
        distillation: Target, number of steps and guidance.
    """

    training: DistillationLoop = DistillationLoop()
    distillation: DistillationConfig = DistillationConfig()
