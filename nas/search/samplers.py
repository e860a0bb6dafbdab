"""The samplers of Optuna that a search can use, by name."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler

from nas.search.config import SamplerName

POPULATION = 20
"""Individuals in a generation of the genetic samplers.

A search scores a few hundred architectures. With Optuna's default of 50 most of them would pass before
selection has had an effect. It is fixed, because a study must be continued with the size it began with.
"""


def make_sampler(name: SamplerName, seed: int) -> BaseSampler:
    """Make a sampler.

    Args:
        name: `exhaustive` needs no sampler, since all its proposals are enqueued; it gets the random one.
        seed: Seed of its random numbers.
    """
    if name == "nsga2":
        return NSGAIISampler(population_size=POPULATION, seed=seed)
    if name == "nsga3":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return NSGAIIISampler(population_size=POPULATION, seed=seed)
    if name == "tpe":
        return TPESampler(multivariate=True, seed=seed)
    return RandomSampler(seed=seed)
