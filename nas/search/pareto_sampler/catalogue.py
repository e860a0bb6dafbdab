"""Known properties of architectures, each looked up once as long as it is of use.

Shape suffixes: N candidates, D parameters, C columns (labels, then features).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import NasError
from nas.search.pareto_sampler.domain import Codes, Domain

Params = Mapping[str, Any]
Code = tuple[int, ...]


@dataclass(frozen=True)
class Knowledge:
    """Functions of an architecture's parameters.

    Args:
        latency: The known objective.
        feasible: Whether an architecture may be proposed at all.
        features: Numbers that help to predict quality, scaled so that a difference of 1 matters.
        key: Equal for architectures that are the same, of which only one is proposed.
    """

    latency: Callable[[Params], float]
    feasible: Callable[[Params], bool] | None = None
    features: Callable[[Params], Sequence[float]] | None = None
    key: Callable[[Params], Hashable] | None = None


@dataclass(frozen=True)
class Candidates:
    """Feasible and distinct architectures.

    Args:
        codes_ND: Their choices.
        latency_N: Their latencies.
        rows_NC: The surrogate's inputs.
        keys: Their keys.
    """

    codes_ND: Codes
    latency_N: NDArray[np.float64]
    rows_NC: NDArray[np.float64]
    keys: tuple[Hashable, ...]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def places(self) -> dict[Hashable, int]:
        """The row of each key."""
        return {key: place for place, key in enumerate(self.keys)}


@dataclass(frozen=True, slots=True)
class _Facts:
    """Known properties of one architecture; `latency` is infinite if it is not feasible."""

    latency: float
    features: tuple[float, ...]
    key: Hashable


class Catalogue:
    """Looks up architectures, each of them once.

    Args:
        domain: The space.
        knowledge: Functions that know the properties.
    """

    def __init__(self, domain: Domain, knowledge: Knowledge) -> None:
        self.domain, self.knowledge = domain, knowledge
        self._facts: dict[Code, _Facts] = {}

    def candidates(self, codes_ND: Codes) -> Candidates:
        """The feasible ones among some architectures, without repetitions; of equal ones, the fastest.

        Raises:
            NasError: A latency is not a positive number.
        """
        best: dict[Hashable, tuple[float, Code]] = {}
        for row in codes_ND.tolist():
            code = tuple(row)
            facts = self.facts(code)
            if math.isfinite(facts.latency) and facts.latency < best.get(facts.key, (math.inf, code))[0]:
                best[facts.key] = (facts.latency, code)
        codes = [code for _, code in best.values()]
        latency = np.array([latency for latency, _ in best.values()], dtype=np.float64)
        kept = np.array(codes, dtype=np.int16).reshape(-1, len(self.domain.names))
        return Candidates(kept, latency, self.rows(codes), tuple(best))

    def rows(self, codes: Sequence[Code]) -> NDArray[np.float64]:
        """Labels of the choices, and features; shape (N, C)."""
        labels = self.domain.labels
        rows = [
            [*(offered[place] for offered, place in zip(labels, code, strict=True)), *self.facts(code).features]
            for code in codes
        ]
        return np.array(rows, dtype=np.float64).reshape(len(codes), -1 if codes else len(self.domain.names))

    def facts(self, code: Code) -> _Facts:
        """The known properties of one architecture."""
        if code not in self._facts:
            self._facts[code] = self._ask(code)
        return self._facts[code]

    def keep(self, codes: Iterable[Code]) -> None:
        """Forget all architectures but these: in a large space, most are candidates for a while only."""
        self._facts = {code: self._facts[code] for code in codes if code in self._facts}

    def _ask(self, code: Code) -> _Facts:
        params, ask = self.domain.decode(code), self.knowledge
        key = code if ask.key is None else ask.key(params)
        features = () if ask.features is None else tuple(map(float, ask.features(params)))
        if ask.feasible is not None and not ask.feasible(params):
            return _Facts(math.inf, features, key)
        latency = float(ask.latency(params))
        if not (math.isfinite(latency) and latency > 0):
            raise NasError(f"the latency of {params} is {latency}",
                           hint="a latency is a positive number, and an unknown one an error")  # fmt: skip
        return _Facts(latency, features, key)
