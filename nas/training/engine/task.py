"""Training tasks: modules whose `forward` returns the losses of one step.

The trainer needs nothing else of a task, so accelerate can wrap it like any module.
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
"""Name of the phase in which the model itself learns."""


@dataclass(frozen=True)
class OptimizerPhase:
    """A part of each training step, in which one optimiser updates some of the parameters.

    Args:
        name: Name of what learns.
        parameters: The parameters that this phase updates.
        learning_rate: Peak learning rate of the phase; `None` for that of the run.
        adam_beta1: AdamW's decay of gradients.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float | None = None
    adam_beta1: float = 0.9


class Movable(Protocol):
    """A batch: anything that can be moved to a device."""

    def to(self, device: torch.device) -> Self:
        """The batch on another device."""
        ...


BatchT = TypeVar("BatchT", bound=Movable)


class TrainingTask(nn.Module, ABC, Generic[BatchT]):
    """Base class of training tasks.

    The contract: `forward(batch, step, phase)` returns scalars, each a mean over the clips of the batch; `loss` is
    minimised. Random numbers of a clip come from the `RNGKeys` of the batch, with the phase as their purpose.
    Everything else that is random follows from the step's number. So N processes train as one does, and all of them
    train the same architecture in a step. Dropout of the backbone is the exception: it uses torch's global generator,
    which the trainer seeds for each process and phase.
    """

    @abstractmethod
    def forward(self, batch: BatchT, step: int, phase: str = MODEL) -> Losses:
        """Losses of one phase of a step, on one batch."""

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the model; their moving average is kept."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def phases(self) -> tuple[OptimizerPhase, ...]:
        """Phases of a step, in order. The one named `MODEL` is always among them."""
        return (OptimizerPhase(MODEL, tuple(self.trained_parameters())),)
