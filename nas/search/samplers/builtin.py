"""The built-in samplers. Optuna is imported when one of them is made."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from nas.files import StrictModel
from nas.search.objective import Objective
from nas.search.proposals import anchors
from nas.search.samplers.factory import SamplerFactory
from nas.space import Architecture

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

POPULATION = 20
"""Individuals in a generation of the genetic samplers.

A search scores a few hundred architectures. With Optuna's default of 50, most of them would pass before selection has
had an effect.
"""

Count = Annotated[int, Field(ge=1, le=10**6)]


class Pareto(SamplerFactory):
    """`ParetoSampler`: learns quality and knows latency."""

    class Config(StrictModel):
        """Options of the sampler.

        Args:
            startup_trials: Trials before the first fit of the surrogate; fewer in spaces with few architectures.
        """

        startup_trials: Count = 12

    config: Config

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """The sampler, told the latencies and the budgets."""
        from nas.search.pareto_sampler import ParetoSampler

        def second(params: Mapping[str, Any]) -> float:
            return objective.second(objective.architecture(params))

        def feasible(params: Mapping[str, Any]) -> bool:
            return objective.feasible(objective.architecture(params))

        return ParetoSampler(
            second,
            search_space=objective.distributions,
            feasible=feasible if objective.limits else None,
            key=lambda params: objective.architecture(params).id,
            # The search scores them first. Here they make sure that a part of a large space holds something feasible.
            anchors=[objective.params(architecture) for architecture in anchors(objective)],
            startup_trials=self.config.startup_trials,
            seed=seed,
        )


class Random(SamplerFactory):
    """Optuna's `RandomSampler`."""

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """Uniform random choices."""
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)


class NSGA2(SamplerFactory):
    """Optuna's `NSGAIISampler`."""

    class Config(StrictModel):
        """Options of the sampler.

        Args:
            population_size: Individuals in a generation.
        """

        population_size: Annotated[int, Field(ge=2, le=10**6)] = POPULATION

    config: Config

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """The genetic sampler."""
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(population_size=self.config.population_size, seed=seed)


class NSGA3(NSGA2):
    """Optuna's `NSGAIIISampler`."""

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """The genetic sampler with reference points."""
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import NSGAIIISampler

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return NSGAIIISampler(population_size=self.config.population_size, seed=seed)


class TPE(SamplerFactory):
    """Optuna's `TPESampler`."""

    class Config(StrictModel):
        """Options of the sampler, with Optuna's names.

        Args:
            multivariate: Model the slots together.
            n_startup_trials: Random trials before the first model.
            n_ei_candidates: Candidates per proposal.
        """

        multivariate: bool = True
        n_startup_trials: Count = 10
        n_ei_candidates: Count = 24

    config: Config

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """The sampler of tree-structured Parzen estimators."""
        from optuna.samplers import TPESampler

        return TPESampler(**self.config.model_dump(), seed=seed)


class Exhaustive(SamplerFactory):
    """`ExhaustiveSampler`: enumerates the architectures of the space that meet the budgets, in the space's order."""

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        """The sampler."""
        from nas.search.samplers.exhaustive import ExhaustiveSampler
        from nas.search.storage.contents import WITHDRAWN

        return ExhaustiveSampler(
            objective.distributions,
            order=lambda: map(objective.params, _feasible(objective)),
            key=lambda params: objective.architecture(params).id,
            counts=lambda trial: WITHDRAWN not in trial.user_attrs,
        )

    def first(self, objective: Objective) -> Sequence[Architecture]:
        """The first one in the order of the space; none if no architecture meets the budgets."""
        return list(itertools.islice(_feasible(objective), 1))


def _feasible(objective: Objective) -> Iterator[Architecture]:
    return filter(objective.feasible, objective.space.enumerate())
