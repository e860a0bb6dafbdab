"""A finite search space of Optuna as numbers: one column per parameter, one integer per value.

Shape suffixes: N architectures, D parameters.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nas.space.product import Product

Codes = NDArray[np.int16]

MOST_VALUES = 1_000
"""A parameter with more values than this counts as continuous."""

MOST_SHARED = 32
"""With more values than this that several parameters offer, as of long ranges of integers, none counts as shared."""


class Domain:
    """The values that each parameter may take.

    Args:
        values: The values of each parameter, by its name.
    """

    def __init__(self, values: Mapping[str, tuple[Any, ...]]) -> None:
        self.values = dict(values)
        self.product = Product(self.values.values())
        self.names = tuple(self.values)
        self.sizes = np.array([len(offered) for offered in self.product.candidates], dtype=np.int64)
        self._places = [
            {_key(value): place for place, value in enumerate(offered)} for offered in self.product.candidates
        ]

    @classmethod
    def of(cls, search_space: Mapping[str, BaseDistribution]) -> Self | None:
        """The domain of Optuna's distributions; `None` if a parameter is continuous, or there is no parameter."""
        values = {name: _values(distribution) for name, distribution in search_space.items()}
        finite = {name: offered for name, offered in values.items() if offered is not None}
        return cls(finite) if finite and len(finite) == len(values) else None

    @cached_property
    def shared(self) -> int:
        """Number of labels that several parameters offer; these labels come first."""
        return self._vocabulary[1]

    @cached_property
    def labels(self) -> tuple[NDArray[np.int64], ...]:
        """For each parameter, the label of each of its values. Equal values of different parameters have one label."""
        order = {key: label for label, key in enumerate(self._vocabulary[0])}
        return tuple(np.array([order[key] for key in places]) for places in self._places)

    @cached_property
    def _vocabulary(self) -> tuple[list[tuple[type, Any]], int]:
        """The different values, those that several parameters offer first, and the number of these."""
        offers = Counter(key for places in self._places for key in places)
        shared = [key for key, times in offers.items() if times > 1]
        others = [key for key, times in offers.items() if times == 1]
        return [*shared, *others], len(shared) if len(shared) <= MOST_SHARED else 0

    @property
    def count(self) -> int:
        """Number of combinations."""
        return self.product.count()

    def encode(self, params: Mapping[str, Any]) -> tuple[int, ...] | None:
        """The places of values; `None` if a parameter is missing or has a value outside the domain."""
        if params.keys() < self.values.keys():
            return None
        try:
            return tuple(places[_key(params[name])] for name, places in zip(self.names, self._places, strict=True))
        except KeyError:
            return None

    def decode(self, code: NDArray[np.integer] | tuple[int, ...]) -> dict[str, Any]:
        """The values at places."""
        return {name: offered[place] for (name, offered), place in zip(self.values.items(), code, strict=True)}

    def uniform(self) -> Codes:
        """For each value that all parameters offer, the combination that has it everywhere; shape (N, D)."""
        everywhere = set.intersection(*(set(places) for places in self._places))
        kept = [key for key in self._places[0] if key in everywhere]
        return np.array([[places[key] for places in self._places] for key in kept], dtype=np.int16).reshape(
            -1, len(self.names)
        )

    def enumerate(self) -> Codes:
        """Every combination, the last parameter changing fastest; shape (count, D)."""
        # numpy's own grids have an axis for each parameter, of which an array has 64 at most.
        rows = itertools.product(*(range(size) for size in self.sizes.tolist()))
        return np.array(list(rows), dtype=np.int16).reshape(-1, len(self.names))

    def sample(self, rng: np.random.Generator, count: int) -> Codes:
        """Independent uniform draws; shape (count, D)."""
        return rng.integers(self.sizes, size=(count, len(self.names))).astype(np.int16)

    def mutate(self, codes_ND: Codes, rng: np.random.Generator) -> Codes:
        """A copy of each row with one parameter replaced by another value, two in half of the rows, and so on."""
        mutated = codes_ND.copy()
        changes = np.minimum(rng.geometric(0.5, size=len(codes_ND)), len(self.names))
        order = rng.random(codes_ND.shape).argsort(axis=1).argsort(axis=1)
        chosen = order < changes[:, None]
        # A step of 1 to size - 1 around the circle never ends where it began.
        steps = 1 + (rng.random(codes_ND.shape) * (self.sizes - 1)).astype(np.int64)
        mutated[chosen] = ((codes_ND + steps) % self.sizes)[chosen]
        return mutated


def _values(distribution: BaseDistribution) -> tuple[Any, ...] | None:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution) and not distribution.log:
        steps = range(distribution.low, distribution.high + 1, distribution.step)
        return tuple(steps) if len(steps) <= MOST_VALUES else None
    if isinstance(distribution, FloatDistribution) and distribution.single():
        return (distribution.low,)
    return None


def _key(value: Any) -> tuple[type, Any]:
    """`True` and `1` are equal to Python, and two choices to Optuna."""
    return type(value), value
