"""Settings of a training run; saved beside what it made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from nas.files import StrictModel

Fraction = Annotated[float, Field(ge=0, le=1)]

# Numbers in single precision compute with what is accepted here, and whatever is beyond was meant otherwise.
Count = Annotated[int, Field(ge=1, le=10**12)]
Clips = Annotated[int, Field(ge=1, le=10**6)]
Rate = Annotated[float, Field(gt=0, le=1e18)]
LogitMean = Annotated[float, Field(ge=-20, le=20)]
LogitDeviation = Annotated[float, Field(gt=0, le=20)]


class LoopConfig(StrictModel):
    """How long, how fast, and on what batches to train, whatever the task.

    Args:
        steps: Optimiser steps.
        max_minutes: End earlier when this much training time is used up; the learning rate is annealed to it.
        batch_size: Clips per micro-batch, over all processes.
        image_batch_size: Single frames per micro-batch, over all processes, trained jointly as one-frame clips.
        learning_rate: Peak learning rate of AdamW.
        warmup_steps: Steps of linear warm-up.
        anneal_share: Share of the run, at its end, in which a cosine takes the learning rate to zero; it is constant
            between warm-up and that. 1 is a plain cosine.
        adam_beta2: AdamW's decay of squared gradients; short runs want it below the usual 0.999.
        weight_decay: AdamW's decoupled weight decay.
        max_grad_norm: Gradients are scaled down to this norm.
        ema_decay: Upper bound of the decay of the averaged weights, which are the ones kept.
        parallel: What each process of a run holds. `ddp`: all of the model. `fsdp`: a share of its weights, gradients,
            averaged weights and optimiser state; blocks are gathered from all processes when they run. One process
            alone holds everything either way.
        mixed_precision: Accelerate's mixed precision.
        gradient_accumulation: Micro-batches per optimiser step.
        gradient_checkpointing: Whether the backward pass computes each block once more, instead of keeping what is
            inside: less memory for about a third more time, and the same losses.
        checkpoint_every: Steps between checkpoints.
        seed: Seed of everything random in the run.
    """

    steps: Count = 2000
    max_minutes: PositiveFloat | None = None
    batch_size: Clips = 8
    image_batch_size: Annotated[int, Field(ge=0, le=10**6)] = 8
    learning_rate: Rate = 1e-3
    warmup_steps: Annotated[int, Field(ge=0, le=10**12)] = 50
    anneal_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    weight_decay: Annotated[float, Field(ge=0, le=1e18)] = 0.01
    max_grad_norm: PositiveFloat = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    parallel: Literal["ddp", "fsdp"] = "ddp"
    mixed_precision: Literal["no", "bf16"] = "no"
    gradient_accumulation: Clips = 1
    gradient_checkpointing: bool = False
    checkpoint_every: Count = 200
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0

    def decisive(self) -> dict[str, Any]:
        """Plain data that decide what a run learns, whatever the processes and memory it is computed with.

        A run may go on with its steps split into another number of micro-batches.
        """
        value = self.model_dump(exclude={"gradient_accumulation", "gradient_checkpointing", "parallel"})
        for name in ("batch_size", "image_batch_size"):
            value[name] *= self.gradient_accumulation
        return value


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
