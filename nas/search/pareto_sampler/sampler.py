"""The sampler, as an Optuna sampler."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nas.search.pareto_sampler.catalogue import Catalogue, Knowledge, Params
from nas.search.pareto_sampler.domain import Domain
from nas.search.pareto_sampler.history import History, learnt_objective
from nas.search.pareto_sampler.proposer import Proposer


class ParetoSampler(BaseSampler):
    """Proposes the architecture with the largest expected gain in hypervolume, given known latencies.

    Optuna's own samplers treat all objectives as unknown and equally expensive. If one objective is known, such as a
    latency in a table, this sampler looks it up instead of learning it: a Gaussian process models quality alone, and
    latencies are exact. Running trials count as if they had the predicted quality, so that parallel workers propose
    different architectures. Infeasible architectures are never proposed. The first proposals are the uniform
    architectures, the fastest, the slowest, and a spread over all latencies.

    It is for studies of finite parameters, such as categorical ones and integers, with one objective to learn and at
    most one that is known. If a parameter is not finite, all parameters are drawn at random.

    Args:
        latency: The known objective of an architecture, by its parameters; positive. It is called for many
            architectures (for all of a space of up to 20,000) and should take well below a millisecond.
        search_space: The parameters, if they are known in advance. Otherwise they are taken from finished trials, and
            the first trial is drawn at random.
        feasible: Whether an architecture may be proposed.
        features: Numbers that describe an architecture to the surrogate, beside its choices. Good features are equal
            for architectures of similar quality: depth, counts of a layer. The surrogate learns which of them matter;
            scale them so that a difference of 1 matters.
        key: Equal for architectures that compute the same; they are evaluated once, in their fastest form.
        anchors: Parameters of architectures to begin with, beside the uniform ones, the fastest and the slowest.
        latency_objective: Index of the known objective, in a study of two.
        reference: Reference point: latency and quality. By default the largest latency among the candidates that is
            not an outlier, and the median quality of the first trials.
        startup_trials: Trials before the first fit; fewer in spaces with few architectures.
        seed: Seed of its random numbers.

    Raises:
        ValueError: `latency_objective` is neither 0 nor 1.
    """

    def __init__(
        self,
        latency: Callable[[Params], float],
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        feasible: Callable[[Params], bool] | None = None,
        features: Callable[[Params], Sequence[float]] | None = None,
        key: Callable[[Params], Hashable] | None = None,
        anchors: Sequence[Params] = (),
        latency_objective: int = 1,
        reference: tuple[float, float] | None = None,
        startup_trials: int = 12,
        seed: int | None = None,
    ) -> None:
        if latency_objective not in {0, 1}:
            raise ValueError(f"latency_objective is 0 or 1, got {latency_objective}")
        self._knowledge = Knowledge(latency, feasible, features, key)
        self._search_space = None if search_space is None else dict(search_space)
        self._latency_objective, self._reference = latency_objective, reference
        self._startup_trials, self._anchors = startup_trials, tuple(anchors)
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)
        self._intersection = IntersectionSearchSpace()
        self._proposers: dict[tuple[Any, ...], Proposer] = {}
        self._promised: dict[int, Params] = {}
        self._lock = threading.Lock()
        self._warned = False

    def reseed_rng(self) -> None:
        """Draw other random numbers from now on, which Optuna requests for copies in other threads."""
        self._random.reseed_rng()
        with self._lock:
            self._rng.bit_generator.state = np.random.default_rng().bit_generator.state

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are proposed together."""
        if self._search_space is not None:
            return self._search_space
        return self._intersection.calculate(study)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """An architecture; random values if a parameter is not finite.

        Raises:
            ValueError: The study has more than two objectives, or the known one is to be maximised.
            NasError: No architecture is feasible, or a latency is not a positive number.
        """
        self._check(study.directions)
        domain = Domain.of(search_space)
        if domain is None:
            self._warn(search_space)
            return {
                name: self._random.sample_independent(study, trial, name, distribution)
                for name, distribution in search_space.items()
            }
        with self._lock:
            proposer = self._proposer(domain, learnt_objective(study.directions, self._latency_objective)[1])
            params = domain.decode(proposer.propose(self._history(study, trial, domain)))
            self._promised[trial.number] = params
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for parameters that are not proposed together."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _check(self, directions: Sequence[StudyDirection]) -> None:
        if len(directions) > 2:
            raise ValueError(f"ParetoSampler is for one or two objectives, the study has {len(directions)}")
        if len(directions) == 2 and directions[self._latency_objective] == StudyDirection.MAXIMIZE:
            raise ValueError(f"objective {self._latency_objective} is the known one, such as a latency, and is to be "
                             "minimised; the study maximises it (latency_objective says which it is)")  # fmt: skip

    def _proposer(self, domain: Domain, sign: float) -> Proposer:
        identity = (sign, *domain.values.items())
        if identity not in self._proposers:
            catalogue = Catalogue(domain, self._knowledge)
            anchors = [code for params in self._anchors if (code := domain.encode(params)) is not None]
            codes = np.array(anchors, dtype=np.int16).reshape(-1, len(domain.names))
            worst = None if self._reference is None else (self._reference[0], sign * self._reference[1])
            self._proposers[identity] = Proposer(catalogue, codes, worst, self._startup_trials, self._rng)
        return self._proposers[identity]

    def _history(self, study: optuna.Study, trial: FrozenTrial, domain: Domain) -> History:
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        # The trial of another thread gets its parameters one after the other, some time after they were proposed.
        for other in others:
            params = self._promised.get(other.number)
            if params is not None and (other.state.is_finished() or other.params.keys() >= params.keys()):
                del self._promised[other.number]
        promised = tuple(self._promised.values())
        return History.read(others, domain, study.directions, self._latency_objective, promised=promised)

    def _warn(self, search_space: Mapping[str, BaseDistribution]) -> None:
        if search_space and not self._warned:
            self._warned = True
            warnings.warn(
                "ParetoSampler searches finite parameters; a study with others is sampled at random", stacklevel=2
            )
