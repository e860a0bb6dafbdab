"""Settings of the training loop, for every task. They are saved beside the result of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    PositiveFloat,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from nas.files import FOR_DIGEST, StrictModel

# Single precision can compute with these numbers; larger ones are mistakes.
Count = Annotated[int, Field(ge=1, le=10**12)]
Clips = Annotated[int, Field(ge=1, le=10**6)]
Rate = Annotated[float, Field(gt=0, le=1e18)]


TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio"]

MAY_CHANGE = frozenset({"background_checkpoints", "data_workers", "trackers"})
"""Settings of a run that do not change what it learns. A run, and a stage of a run's file, resumes with other ones."""


class LoopConfig(StrictModel):
    """How long, how fast, and on what batches to train.

    Args:
        steps: Optimiser steps.
        max_minutes: Training time after which the run ends early; the learning rate is annealed to it.
        batch_size: Clips per micro-batch, over all processes.
        image_batch_size: Single frames per micro-batch, over all processes, trained jointly as one-frame clips.
        learning_rate: Peak learning rate of AdamW.
        warmup_steps: Steps of linear warm-up.
        anneal_share: Share of the run, at its end, in which a cosine takes the learning rate to zero; it is constant
            between warm-up and that. 1 is a plain cosine.
        adam_beta2: AdamW's decay of squared gradients; short runs need less than the usual 0.999.
        weight_decay: AdamW's decoupled weight decay.
        max_grad_norm: Gradients are scaled down to this norm.
        ema_decay: Upper bound of the decay of the averaged weights. The averaged weights are the result of a run.
        parallel: What each process of a run holds. `ddp`: the whole model. `fsdp`: a share of its weights, gradients,
            averaged weights and optimiser state; a block is gathered from all processes when it runs. A single process
            holds everything either way.
        mixed_precision: Accelerate's mixed precision.
        gradient_accumulation: Micro-batches per optimiser step.
        gradient_checkpointing: Whether the backward pass recomputes each block instead of storing its activations:
            less memory for about a third more time, and the same losses.
        data_workers: Processes that make batches, for each process of the run. With 0, the run makes them itself. Left
            out: 2 if the run computes on a graphics card and decodes videos in each step (tars), otherwise 0.
        checkpoint_every: Steps between checkpoints.
        background_checkpoints: Whether training goes on while a checkpoint is written. It takes as much memory of the
            host as the checkpoint has bytes. Not for `fsdp`, and without effect where clips are made at checkpoints.
        trackers: Where the run shows its losses, beside `metrics.csv`: `tensorboard` (a folder of the run), `wandb`,
            `mlflow` or `trackio`. A resumed run continues there.
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
    data_workers: Annotated[int, Field(ge=0, le=256)] | None = None
    checkpoint_every: Count = 200
    background_checkpoints: bool = False
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0

    @model_validator(mode="after")
    def _shards_are_written_by_all(self) -> Self:
        if self.background_checkpoints and self.parallel == "fsdp":
            raise ValueError("background_checkpoints needs parallel: ddp, because shards are written by all processes")
        return self

    @model_serializer(mode="wrap")
    def _without_what_may_change(self, write: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        left_out = MAY_CHANGE if info.context == FOR_DIGEST else ()
        return {name: value for name, value in written.items() if name not in left_out}

    def decisive(self) -> dict[str, Any]:
        """Settings that decide what a run learns, as plain data: those of processes and memory are left out.

        A run may be resumed with another number of micro-batches per step.
        """
        value = self.model_dump(exclude={*MAY_CHANGE, "gradient_accumulation", "gradient_checkpointing", "parallel"})
        for name in ("batch_size", "image_batch_size"):
            value[name] *= self.gradient_accumulation
        return value
