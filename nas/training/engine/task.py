"""Training tasks: modules whose `forward` returns the losses of one step.

The trainer needs nothing else of a task, so accelerate can wrap it like any module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, Protocol, Self, TypeVar

import torch
from torch import nn

Losses = dict[str, torch.Tensor]


MODEL = "model"
"""Name of the phase in which the model itself learns."""


@dataclass(frozen=True)
class OptimizerPhase:
    """A part of each training step, in which one optimiser updates some of the parameters, once or several times.

    Args:
        name: Name of what learns.
        parameters: The parameters that this phase updates.
        learning_rate: Peak learning rate of the phase; `None` for that of the run.
        adam_beta1: AdamW's decay of gradients.
        updates: Updates per step, all from the clips of the step. The model's phase has one.
        number: Which of them this is.
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    learning_rate: float | None = None
    adam_beta1: float = 0.9
    updates: int = 1
    number: int = 0

    @property
    def purpose(self) -> str:
        """What the random numbers of an update are for: other ones in each update of a step."""
        return f"{self.name} {self.number}" if self.number else self.name

    def in_turn(self) -> tuple[OptimizerPhase, ...]:
        """The phase once for each of its updates, in order."""
        return tuple(replace(self, number=number) for number in range(self.updates))


class Movable(Protocol):
    """A batch: anything that can be moved to a device."""

    def to(self, device: torch.device) -> Self:
        """The batch on another device."""
        ...


BatchT = TypeVar("BatchT", bound=Movable)


class TrainingTask(nn.Module, ABC, Generic[BatchT]):
    """Base class of training tasks.

    The contract: `forward(batch, step, phase)` returns scalars, each a mean over the clips of the batch; `loss` is
    minimised. Random numbers of a clip come from the `RNGKeys` of the batch, with `phase` as their purpose: the name
    of the phase, followed by the number of the update if it is not the first of the step.
    Everything else that is random follows from the step's number. So N processes train as one does, and all of them
    train the same architecture in a step. Dropout of the backbone is the exception: it uses torch's global generator,
    which the trainer seeds for each process and phase.
    """

    @abstractmethod
    def forward(self, batch: BatchT, step: int, phase: str = MODEL) -> Losses:
        """Losses of one phase of a step, on one batch."""

    def uses_all_parameters(self) -> bool:
        """Whether each parameter that learns has a part in every loss.

        If so, data parallel need not search each step's graph for those that have none.
        """
        return False

    def trained_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the model; their moving average is kept."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def phases(self) -> tuple[OptimizerPhase, ...]:
        """Phases of a step, in order. The one named `MODEL` is always among them."""
        return (OptimizerPhase(MODEL, tuple(self.trained_parameters())),)
