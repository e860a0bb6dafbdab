"""The samplers that a search can use, by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from nas.search.config import SamplerName
from nas.search.objective import Objective
from nas.search.pareto_sampler import ParetoSampler
from nas.search.proposals import anchors
from nas.space import Architecture

POPULATION = 20
"""Individuals in a generation of the genetic samplers.

A search scores a few hundred architectures. With Optuna's default of 50 most of them would pass before
selection has had an effect. It is fixed, because a study must be continued with the size it began with.
"""


def make_sampler(name: SamplerName, objective: Objective, seed: int) -> BaseSampler:
    """Make a sampler.

    Args:
        name: `exhaustive` needs no sampler, since all its proposals are enqueued; it gets the random one.
        objective: What is searched; `pareto` asks it for latencies and budgets.
        seed: Seed of its random numbers.
    """
    if name == "pareto":
        return _pareto(objective, seed)
    if name == "nsga2":
        return NSGAIISampler(population_size=POPULATION, seed=seed)
    if name == "nsga3":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return NSGAIIISampler(population_size=POPULATION, seed=seed)
    if name == "tpe":
        return TPESampler(multivariate=True, seed=seed)
    return RandomSampler(seed=seed)


def _pareto(objective: Objective, seed: int) -> ParetoSampler:
    space = objective.space

    def architecture(params: Mapping[str, Any]) -> Architecture:
        return space.architecture([params[slot.id] for slot in space.slots])

    def latency_ms(params: Mapping[str, Any]) -> float:
        return float(objective.latency.predict(architecture(params)).pipeline_ms)

    def feasible(params: Mapping[str, Any]) -> bool:
        return objective.feasible(architecture(params))

    # The search proposes them itself; here they make sure that a part of a large space holds something feasible.
    known_good = [dict(zip((slot.id for slot in space.slots), one.choices, strict=True))
                  for one in anchors(objective)]  # fmt: skip
    return ParetoSampler(
        latency_ms,
        search_space={slot.id: CategoricalDistribution(slot.candidates) for slot in space.slots},
        feasible=feasible if objective.limits else None,
        key=lambda params: architecture(params).id,
        anchors=known_good,
        seed=seed,
    )
