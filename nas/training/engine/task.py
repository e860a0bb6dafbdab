"""What can be trained: a module whose `forward` is the loss of one step.

The loop in `nas.training.engine.trainer` needs nothing else of a task, so accelerate can wrap it like any module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import nn

Losses = dict[str, torch.Tensor]


MODEL = "model"
"""The phase in which the model itself learns."""


@dataclass(frozen=True)
class OptimizerPhase:
    """A part of each step in which some parameters learn while all others stand still.

    Args:
        name: What learns.
        parameters: The parameters, which have an optimiser of their own.
        learning_rate: Its peak learning rate; that of the run when left out.
        adam_beta1: AdamW's decay of gradients.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float | None = None
    adam_beta1: float = 0.9


class Movable(Protocol):
    """What a training step can be given: anything that moves to a device."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        ...


BatchT = TypeVar("BatchT", bound=Movable)


class TrainingTask(nn.Module, ABC, Generic[BatchT]):
    """One thing that can be trained.

    The contract: `forward(batch, step, phase)` returns scalars, of which `loss` is minimised, each a mean over the
    clips of the batch. What is random about a clip comes from the `RNGKeys` that the batch carries, drawn for the
    phase, and everything else from the step's number: so N processes train as one does, all of them the same
    architecture in a step. Dropout of the backbone is the one exception; its generator is torch's global one, which
    the loop seeds for each process and phase.
    """

    @abstractmethod
    def forward(self, batch: BatchT, step: int, phase: str = MODEL) -> Losses:
        """Losses of one phase of a step on one batch."""

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the model, whose average is kept."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def phases(self) -> tuple[OptimizerPhase, ...]:
        """The phases of a step, in their order; the model's own is always among them."""
        return (OptimizerPhase(MODEL, tuple(self.trained_parameters())),)
