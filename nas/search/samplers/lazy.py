"""A sampler that is made when its first trial is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class LazySampler(BaseSampler):
    """A sampler that is made for its first trial, and seeded by the number of that trial.

    Workers that start at the same time read the same study, and differ only in the numbers of their trials. The seed
    gives each of them other random numbers, and a repeated search the same ones.

    Args:
        make: Makes the sampler from the number of its first trial.
    """

    def __init__(self, make: Callable[[int], BaseSampler]) -> None:
        self._make = make
        self._made: BaseSampler | None = None
        self.first = 0

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Make the sampler before the first trial."""
        if self._made is None:
            self.first, self._made = trial.number, self._make(trial.number)
        self._made.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Parameters that the made sampler proposes together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposal of the made sampler."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value from the made sampler."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass the result to the made sampler."""
        self._sampler.after_trial(study, trial, state, values)

    @property
    def _sampler(self) -> BaseSampler:
        assert self._made is not None, "Optuna calls before_trial first"
        return self._made
