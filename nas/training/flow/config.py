"""Settings of flow-matching training. They are saved beside the result of a run."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nas.training.engine.settings import LoopConfig

Fraction = Annotated[float, Field(ge=0, le=1)]

# Single precision can compute with these numbers; larger ones are mistakes.
LogitMean = Annotated[float, Field(ge=-20, le=20)]
LogitDeviation = Annotated[float, Field(gt=0, le=20)]


class TrainingConfig(LoopConfig):
    """Settings of flow-matching training, beside those of the loop.

    Args:
        caption_dropout: Share of captions replaced by the empty one, for classifier-free guidance.
        timestep_mean: Mean of the logit-normal noise level.
        timestep_std: Standard deviation of the logit-normal noise level.
        timestep_shift: Timestep shift; above 1 trains more on high noise levels. Models are sampled with it, too.
        freeze_backbone: Whether the spatial backbone is frozen. Temporal layers, the frame embedding and a learned
            text encoder are trained.
    """

    caption_dropout: Fraction = 0.1
    timestep_mean: LogitMean = 0.0
    timestep_std: LogitDeviation = 1.0
    timestep_shift: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    freeze_backbone: bool = False


class SuperNetConfig(TrainingConfig):
    """Settings of a supernet's training, beside those of flow matching.

    Args:
        strategy: Which architectures a step trains. `uniform`: one, all equally likely. `fair`: one; each candidate
            of a slot is trained equally often. `sandwich`: the largest on the data, and the smallest and some random
            ones on the predictions of the largest (in-place distillation); a step costs as many steps of one.
        random_paths: Random architectures per step of `sandwich`, by default 2; other strategies have none.
        skip_probability: Probability that a step skips a temporal layer, so that the others learn to work without it.
    """

    strategy: Literal["uniform", "fair", "sandwich"] = "uniform"
    random_paths: Annotated[int, Field(ge=1, le=1000)] | None = None
    skip_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _random_paths_are_of_a_sandwich(self) -> Self:
        if self.strategy != "sandwich" and self.random_paths is not None:
            raise ValueError(f"random_paths belongs to strategy sandwich, not to {self.strategy}")
        return self
