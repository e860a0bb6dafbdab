"""A sampler in its own package: local search around the front.

Install the package and name the sampler:

    pip install ./examples/custom_sampler
    nas search search_spaces/quickstart.yaml --table latency_tables/quickstart-amd_epyc-onnxruntime.csv \
        --supernet runs/supernet --data my_clips/ --study local --sampler local --sampler-option slots=2
"""

from __future__ import annotations

import random
from typing import Annotated, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial
from pydantic import Field

from nas.files import StrictModel
from nas.search import Objective, SamplerFactory


class LocalSearch(SamplerFactory):
    """Changes the choices of a few slots of a random member of the front."""

    class Config(StrictModel):
        """Options of the sampler; on the command line, `--sampler-option slots=2`.

        Args:
            slots: Number of slots that change.
        """

        slots: Annotated[int, Field(ge=1)] = 1

    config: Config

    def make(self, objective: Objective, seed: int) -> BaseSampler:
        return LocalSampler(objective.distributions, self.config.slots, seed)


class LocalSampler(BaseSampler):
    """The sampler as Optuna calls it. It reads everything from the study, so any number of workers can share one."""

    def __init__(self, distributions: dict[str, CategoricalDistribution], slots: int, seed: int) -> None:
        self.distributions, self.slots = distributions, slots
        self.rng, self.independent = random.Random(seed), RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        front = study.best_trials
        if not front:
            return {}  # Optuna then calls sample_independent for each parameter
        params = dict(self.rng.choice(front).params)
        for name in self.rng.sample(list(self.distributions), min(self.slots, len(self.distributions))):
            params[name] = self.rng.choice(self.distributions[name].choices)
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.independent.sample_independent(study, trial, param_name, param_distribution)
