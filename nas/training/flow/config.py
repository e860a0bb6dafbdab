"""Settings of flow-matching training; saved beside what a run made."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nas.training.engine.settings import LoopConfig

Fraction = Annotated[float, Field(ge=0, le=1)]

# Numbers in single precision compute with what is accepted here, and whatever is beyond was meant otherwise.
LogitMean = Annotated[float, Field(ge=-20, le=20)]
LogitDeviation = Annotated[float, Field(gt=0, le=20)]


class TrainingConfig(LoopConfig):
    """Settings of flow-matching training, beside those of the loop.

    Args:
        caption_dropout: Share of captions replaced by the empty one, for classifier-free guidance.
        timestep_mean: Mean of the logit-normal noise level.
        timestep_std: Its standard deviation.
        timestep_shift: Timestep shift; above 1 trains more on noisy levels. Models are sampled with it, too.
        freeze_backbone: Leave the spatial backbone as it is, and train temporal layers, the frame embedding, and a text
            encoder that learns.
    """

    caption_dropout: Fraction = 0.1
    timestep_mean: LogitMean = 0.0
    timestep_std: LogitDeviation = 1.0
    timestep_shift: Annotated[float, Field(ge=1e-3, le=1e3)] = 1.0
    freeze_backbone: bool = False


class SuperNetConfig(TrainingConfig):
    """Settings of a supernet's training, beside those of flow matching.

    Args:
        strategy: Which architectures a step trains. `uniform`: one, all equally likely. `fair`: one, such that each
            candidate of a slot is trained equally often. `sandwich`: the largest on the data, and the smallest and
            some random ones on what the largest predicts (in-place distillation); its steps cost as many times more.
        random_paths: Random architectures of a sandwich, two when left out; other strategies have none.
        skip_probability: Share of temporal layers that a step passes by, so that the others learn to do without.
    """

    strategy: Literal["uniform", "fair", "sandwich"] = "uniform"
    random_paths: Annotated[int, Field(ge=1, le=1000)] | None = None
    skip_probability: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _random_paths_are_of_a_sandwich(self) -> Self:
        if self.strategy != "sandwich" and self.random_paths is not None:
            raise ValueError(f"random_paths belongs to strategy sandwich, and means nothing to {self.strategy}")
        return self
