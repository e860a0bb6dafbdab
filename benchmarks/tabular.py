"""Search problems of which every value is in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from nas.search import hypervolume
from nas.space import SearchSpace

Choices = tuple[str, ...]
Result = TypeVar("Result")


def in_processes(function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: int) -> list[Result]:
    """The results of calls, in their order. One worker is this process, so that times are those of one call alone."""
    if workers == 1:
        return [function(*job) for job in jobs]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(function, *zip(*jobs, strict=True)))


class DataError(Exception):
    """What is wrong with a file, in one line."""


@dataclass(frozen=True)
class TabularProblem:
    """A loss to learn, and a latency that is known.

    Args:
        name: Name of the problem.
        candidates: By slot, what it may hold.
        rows: By choices, one per slot, the row.
        loss: By row; less is better.
        latency_ms: By row.
        reference: Latency and loss of the reference point.
        space: The space of video networks, if the problem is one.
    """

    name: str
    candidates: Mapping[str, Choices]
    rows: Mapping[Choices, int]
    loss: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    reference: tuple[float, float]
    space: SearchSpace | None = None

    @cached_property
    def slots(self) -> dict[str, CategoricalDistribution]:
        """The space as Optuna sees it."""
        return {slot: CategoricalDistribution(offered) for slot, offered in self.candidates.items()}

    @cached_property
    def true_hypervolume(self) -> float:
        """The hypervolume of all rows."""
        return self._hypervolume(np.arange(len(self.latency_ms)))

    @cached_property
    def by_row(self) -> list[Choices]:
        """The choices of each row."""
        return sorted(self.rows, key=self.rows.__getitem__)

    @cached_property
    def one_hot(self) -> NDArray[np.float64]:
        """The rows as numbers: a column per slot and candidate."""
        columns = [
            [float(choices[place] == candidate) for choices in self.by_row]
            for place, offered in enumerate(self.candidates.values())
            for candidate in offered
        ]
        return np.array(columns).T

    def share(self, rows: Sequence[int]) -> float:
        """Hypervolume of some rows, as a share of the true front's."""
        return self._hypervolume(np.array(rows, dtype=np.int64)) / self.true_hypervolume

    def choices(self, params: Mapping[str, Any]) -> Choices:
        """One candidate per slot."""
        return tuple(params[slot] for slot in self.candidates)

    def row(self, params: Mapping[str, Any]) -> int | None:
        """The row of an architecture; `None` if the table has none."""
        return self.rows.get(self.choices(params))

    def _hypervolume(self, rows: NDArray[np.int64]) -> float:
        points = np.column_stack([self.latency_ms[rows], self.loss[rows]])
        return hypervolume(points, self.reference, ("minimize", "minimize"))
