"""A sampler that proposes every member of a finite space once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.space.product import Product

Params = Mapping[str, Any]


class ExhaustiveSampler(BaseSampler):
    """Enumerates a finite space in a fixed order, and stops the study when it has proposed all of it.

    Which members were proposed, it reads from the study: an interrupted study resumes, and several workers share one
    enumeration. Members that are proposed at the same moment may come twice.

    Args:
        search_space: The parameters.
        order: Makes an iterator over the members; without it, all combinations, the last parameter changing fastest.
        key: Equal for members that are the same.
        counts: Whether a trial has dealt with its member; by default every trial has. A member that no trial has dealt
            with is proposed again at the end.
    """

    def __init__(
        self,
        search_space: Mapping[str, CategoricalDistribution],
        *,
        order: Callable[[], Iterable[Params]] | None = None,
        key: Callable[[Params], Hashable] | None = None,
        counts: Callable[[FrozenTrial], bool] | None = None,
    ) -> None:
        self._search_space = dict(search_space)
        self._order = self._combinations if order is None else order
        self._key = self._values if key is None else key
        self._counts = counts
        self._keys: dict[int, Hashable] = {}
        self._rest: Iterator[Params] = iter(self._order())
        self._following: Params | None = next(self._rest, None)
        self._random = RandomSampler(seed=0)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters: they are proposed together."""
        return dict(self._search_space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The first member that no other trial has; nothing if all are proposed."""
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        return dict(self._next(others) or {})

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, once all members are proposed."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop the study if all members are proposed."""
        if self._next(study.get_trials(deepcopy=False)) is None:
            study.stop()

    def _next(self, trials: Sequence[FrozenTrial]) -> Params | None:
        """The first member in the order that no trial has dealt with.

        The enumeration moves forward only. When it is at its end, it starts once more, for members whose trials
        turned out not to count.
        """
        done = {self._key_of(trial) for trial in trials if self._is_done(trial)}
        while self._following is not None:
            if self._key(self._following) not in done:
                return self._following
            self._following = next(self._rest, None)
        left = (params for params in self._order() if self._key(params) not in done)
        return next(left, None)

    def _key_of(self, trial: FrozenTrial) -> Hashable:
        if trial.number not in self._keys:
            self._keys[trial.number] = self._key(trial.params)
        return self._keys[trial.number]

    def _is_done(self, trial: FrozenTrial) -> bool:
        whole = trial.params.keys() >= self._search_space.keys()
        return whole and (self._counts is None or self._counts(trial))

    def _combinations(self) -> Iterator[Params]:
        product = Product(distribution.choices for distribution in self._search_space.values())
        return (dict(zip(self._search_space, values, strict=True)) for values in product.rows())

    def _values(self, params: Params) -> Hashable:
        return tuple((type(params[name]), params[name]) for name in self._search_space)
