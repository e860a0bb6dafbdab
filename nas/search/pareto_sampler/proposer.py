"""Proposing the next architecture of a study.

Shape suffixes: N candidates, T trials.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Kernel

from nas.search.pareto import pareto_front
from nas.search.pareto_sampler.acquisition import expected_hypervolume_gain
from nas.search.pareto_sampler.catalogue import Catalogue, Code
from nas.search.pareto_sampler.design import Design
from nas.search.pareto_sampler.domain import Codes
from nas.search.pareto_sampler.history import History
from nas.search.pareto_sampler.kernel import architecture_kernel
from nas.search.pareto_sampler.pool import Pool
from nas.search.pareto_sampler.scaling import LossScale
from nas.search.pareto_sampler.surrogate import PoolPosterior, fit_kernel

Floats = NDArray[np.float64]

REFIT_GROWTH = 1.12
"""The kernel is fitted again when the number of trials has grown by this factor since the last fit."""

LARGEST_FIT = 300
"""Trials that a fit uses: its cost grows with the cube of their number. Predictions use all trials."""

RENEWAL = 8
"""Trials after which the pool of a large space is renewed."""


class Proposer:
    """Holds a pool of candidates and a surrogate, which it updates with new trials.

    Args:
        catalogue: Looks architectures up.
        anchors: Architectures to begin with.
        reference: Reference point: latency and loss; `None` to derive it from the first trials.
        startup_trials: Trials before the first fit.
        rng: Source of randomness.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        anchors: Codes,
        reference: tuple[float, float] | None,
        startup_trials: int,
        rng: np.random.Generator,
    ) -> None:
        self.catalogue, self.reference, self.rng = catalogue, reference, rng
        self.pool = Pool(catalogue, rng, anchors)
        self.design = Design.of(self.pool.candidates, anchors, catalogue.domain.uniform(), startup_trials)
        self._kernel: Kernel | None = None
        self._posterior: PoolPosterior | None = None
        self._trials: list[Code] = []
        self._fitted = self._renewed = 0
        self._scale = LossScale(0.0, 1.0)

    def propose(self, history: History) -> Code:
        """The next architecture; one that was proposed before only if the pool has no other."""
        seen = {self.catalogue.facts(code).key for code in [*history.losses, *history.closed]}
        finished = sum(not np.isnan(loss) for loss in history.losses.values())
        if len(history.losses) >= len(self.design) and finished >= max(len(self.design) // 2, 1):
            return self._most_promising(history, seen)
        following = self.design.following(seen, self.rng)
        return self._any(seen) if following is None else following

    def _most_promising(self, history: History, seen: set[Hashable]) -> Code:
        self._follow(history)
        gain_N = self._gain(history)
        if len(self._trials) >= self._renewed + RENEWAL and not self.pool.complete:
            self._renew_pool(history, gain_N)
            gain_N = self._gain(history)
        gain_N[self._places(seen)] = -np.inf
        best = int(gain_N.argmax())
        return self._code(best) if np.isfinite(gain_N[best]) else self._any(seen)

    def _any(self, seen: set[Hashable]) -> Code:
        """A random candidate, an unseen one if there is one."""
        count = len(self.pool.candidates)
        unseen = np.setdiff1d(np.arange(count), self._places(seen))
        return self._code(int(self.rng.choice(unseen if len(unseen) else count)))

    def _places(self, seen: set[Hashable]) -> list[int]:
        places = self.pool.candidates.places
        return [places[key] for key in seen if key in places]

    def _code(self, place: int) -> Code:
        return tuple(self.pool.candidates.codes_ND[place].tolist())

    def _follow(self, history: History) -> None:
        """Update the surrogate with new trials."""
        followed = set(self._trials)
        new = [code for code in history.losses if code not in followed]
        gone = len(self._trials) + len(new) > len(history.losses)
        if self._posterior is None or gone or len(history.losses) >= self._fitted * REFIT_GROWTH:
            self._refit(history)
            return
        for code in new:
            self._posterior.add(self.catalogue.rows([code])[0])
            self._trials.append(code)

    def _refit(self, history: History) -> None:
        self._trials = list(history.losses)
        known = {code: loss for code, loss in history.losses.items() if not np.isnan(loss)}
        losses = np.array(list(known.values()))
        self._scale = LossScale.of(losses)
        rows = self.catalogue.rows(list(known))
        domain = self.catalogue.domain
        kernel = self._kernel or architecture_kernel(len(domain.names), rows.shape[1], domain.shared)
        chosen = _spread_over(losses, LARGEST_FIT)
        self._kernel = fit_kernel(kernel, rows[chosen], self._scale(losses[chosen]))
        self._fitted = len(self._trials)
        self._predict_from_scratch()

    def _renew_pool(self, history: History, gain_N: Floats) -> None:
        codes = list(history.losses)
        points = np.array([[self.catalogue.facts(code).latency, history.losses[code]] for code in codes])
        leading = pareto_front(points, ("minimize", "minimize")) & np.isfinite(points).all(axis=1)
        self.pool.renew([code for code, leads in zip(codes, leading, strict=True) if leads], gain_N)
        self.catalogue.keep([*codes, *history.closed, *map(tuple, self.pool.candidates.codes_ND.tolist())])
        self._renewed = len(self._trials)
        self._predict_from_scratch()

    def _predict_from_scratch(self) -> None:
        self._posterior = PoolPosterior(self._kernel, self.pool.candidates.rows_NC, self.catalogue.rows(self._trials))

    def _gain(self, history: History) -> Floats:
        """Expected gain of each candidate."""
        assert self._posterior is not None
        losses = self._scale(np.array([history.losses[code] for code in self._trials]))
        mean_N, deviation_N, believed_T = self._posterior.predict(losses)
        latency_T = np.array([self.catalogue.facts(code).latency for code in self._trials])
        reference = self._reference_point(losses)
        points = np.column_stack([latency_T, believed_T])
        points = points[(points < reference).all(axis=1)]
        front = points[pareto_front(points, ("minimize", "minimize"))]
        front = np.unique(front, axis=0)
        return expected_hypervolume_gain(self.pool.candidates.latency_N, mean_N, deviation_N, front, reference)

    def _reference_point(self, losses_T: Floats) -> tuple[float, float]:
        if self.reference is not None:
            return self.reference[0], float(self._scale(np.array(self.reference[1])))
        first = losses_T[: len(self.design)]
        return _slowest_that_counts(self.pool.candidates.latency_N), float(np.nanmedian(first))


def _slowest_that_counts(latency_N: Floats) -> float:
    """A latency slightly above the slowest candidate that is not an outlier, so that this candidate has a gain too.

    Outliers lie more than three interquartile ranges above the upper quartile (Tukey, "Exploratory Data Analysis",
    1977). The slowest member of the front gains the whole width to the reference. If the reference were that of a few
    outliers, only this end of the front would matter.
    """
    lower, upper = np.percentile(latency_N, [25, 75])
    fence = upper + 3 * (upper - lower)
    return 1.01 * float(latency_N[latency_N <= fence].max())


def _spread_over(losses_T: Floats, count: int) -> NDArray[np.int64]:
    """Places of at most `count` trials: half of them the best trials, the others spread over the rest."""
    if len(losses_T) <= count:
        return np.arange(len(losses_T))
    order = np.argsort(losses_T, kind="stable")
    others = np.linspace(count // 2, len(order) - 1, count - count // 2).astype(np.int64)
    return np.sort(order[np.concatenate([np.arange(count // 2), others])])
