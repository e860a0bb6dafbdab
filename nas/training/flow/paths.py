"""Path strategies: which architectures of a supernet a step trains."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod

from nas.files import derive_seed
from nas.models.costs import extreme_architectures
from nas.space import Architecture, SearchSpace
from nas.training.flow.config import SuperNetConfig

RANDOM_PATHS = 2
"""Default number of random architectures of a sandwich."""


class PathStrategy(ABC):
    """Base class of path strategies, which choose the architectures of a step.

    The contract: the choice depends only on the space, the seed and the number of the step. So all processes of a run
    train the same architectures, and a resumed run those that the uninterrupted one would have trained.

    Args:
        space: A space with one implementation of each layer, so that no layer is drawn more often for having several.
        seed: Seed of the run.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self.space, self.seed = space, seed

    @abstractmethod
    def paths(self, step: int) -> tuple[Architecture, ...]:
        """The architectures of a step. The first learns from the data, the others from the prediction of the first."""

    def _random(self, step: int, number: int = 0) -> Architecture:
        purpose = ("architecture", step, number) if number else ("architecture", step)
        return self.space.sample(random.Random(derive_seed(self.seed, *purpose)))


class UniformPaths(PathStrategy):
    """One architecture, all equally likely: Single Path One-Shot (Guo et al. 2020, arXiv 1904.00420)."""

    def paths(self, step: int) -> tuple[Architecture, ...]:
        """One random architecture."""
        return (self._random(step),)


class FairPaths(PathStrategy):
    """One architecture; each candidate of a slot is trained equally often.

    A slot goes through its candidates in rounds, in a new random order in each round, independently of other slots.
    After each round of a slot, each of its candidates has been trained once more: the strict fairness of FairNAS (Chu
    et al. 2021, arXiv 1907.01845), with an optimiser step for each architecture instead of one for a whole round.
    """

    def paths(self, step: int) -> tuple[Architecture, ...]:
        """The next candidate of each slot's round."""
        choices = []
        for slot in self.space.slots:
            round_number, place = divmod(step, len(slot.candidates))
            rng = random.Random(derive_seed(self.seed, "fair", slot.id, round_number))
            choices.append(rng.sample(slot.candidates, len(slot.candidates))[place])
        return (self.space.architecture(choices),)


class SandwichPaths(PathStrategy):
    """The largest architecture, the smallest, and random ones: the sandwich rule (Yu and Huang 2019, arXiv 1903.05134).

    Args:
        space: As for `PathStrategy`.
        seed: As for `PathStrategy`.
        random_paths: Number of random architectures per step.
    """

    def __init__(self, space: SearchSpace, seed: int, random_paths: int) -> None:
        super().__init__(space, seed)
        self.random_paths = random_paths
        self.smallest, self.largest = extreme_architectures(space)

    def paths(self, step: int) -> tuple[Architecture, ...]:
        """The largest, the smallest, then random ones."""
        drawn = (self._random(step, number) for number in range(self.random_paths))
        return (self.largest, self.smallest, *drawn)


def path_strategy(space: SearchSpace, config: SuperNetConfig) -> PathStrategy:
    """The strategy that a configuration names."""
    if config.strategy == "sandwich":
        return SandwichPaths(space, config.seed, config.random_paths or RANDOM_PATHS)
    if config.strategy == "fair":
        return FairPaths(space, config.seed)
    return UniformPaths(space, config.seed)
