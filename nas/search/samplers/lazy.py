"""Random numbers of a worker: other than those of any other worker, and the same again for equal seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class LazySampler(BaseSampler):
    """A sampler that is made when its first trial is there, and seeded by the number of that trial.

    Workers that start at the same time find the same study, so nothing they read would tell them apart. Numbers of
    trials do: a storage gives out each of them once. A worker that is alone gets the number of trials so far.

    Args:
        make: Makes the sampler, from the number of a trial.
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
        """As the sampler does."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the sampler does."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """As the sampler does."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """As the sampler does."""
        self._sampler.after_trial(study, trial, state, values)

    @property
    def _sampler(self) -> BaseSampler:
        assert self._made is not None, "Optuna calls before_trial first"
        return self._made
