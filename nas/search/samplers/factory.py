"""The base class of samplers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from nas.files import StrictModel
from nas.search.objective import Objective
from nas.search.proposals import anchors
from nas.space import Architecture

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


class SamplerFactory(ABC):
    """Makes the Optuna sampler that proposes the architectures of a search.

    The contract, which `nas.testing.SamplerConformance` checks:

    - The sampler proposes a value for each parameter in `objective.distributions`, which has one per slot.
    - Equal options, seeds and studies lead to equal proposals.
    - What it has to remember, it reads from the study. So a search resumes where it ended, and several workers, each
      with a sampler of its own, search one study together.
    - It may propose an architecture again, or one over a budget: neither is scored.
    - When it has nothing left to propose, it calls `study.stop()` in `after_trial`, as Optuna's `GridSampler` does.

    Args:
        config: Its options.
    """

    Config: ClassVar[type[StrictModel]] = StrictModel
    """The options of the sampler, each with a default; a sampler without options leaves it out."""

    config: StrictModel

    def __init__(self, config: StrictModel) -> None:
        self.config = config

    @abstractmethod
    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """Make the sampler of one worker.

        Args:
            objective: What is searched: its space, latencies and budgets are known.
            seed: Seed of the sampler's random numbers; each worker and each run has another one.
        """

    def first(self, objective: Objective) -> Sequence[Architecture]:
        """The architectures that are scored before the sampler is asked; those over a budget are left out."""
        return anchors(objective)
