"""The finite product of choices: every way to take one candidate for each of several places."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Product(Generic[T]):
    """All rows that have one candidate in each place.

    Args:
        candidates: For each place, what it may hold.
    """

    def __init__(self, candidates: Iterable[Sequence[T]]) -> None:
        self.candidates = tuple(tuple(offered) for offered in candidates)

    def count(self) -> int:
        """Number of rows."""
        return math.prod(map(len, self.candidates))

    def rows(self) -> Iterator[tuple[T, ...]]:
        """Every row, one at a time, the last place changing fastest."""
        return itertools.product(*self.candidates)

    def sample(self, rng: random.Random) -> tuple[T, ...]:
        """A random row; all are equally likely."""
        return tuple(rng.choice(offered) for offered in self.candidates)

    def mutate(self, row: Sequence[T], rng: random.Random, places: int = 1) -> tuple[T, ...]:
        """A copy of a row with other candidates in random places.

        Places with one candidate cannot change. If fewer than `places` can change, all of them do.
        """
        mutated = list(row)
        free = [place for place, offered in enumerate(self.candidates) if len(offered) > 1]
        for place in rng.sample(free, min(places, len(free))):
            mutated[place] = rng.choice([choice for choice in self.candidates[place] if choice != mutated[place]])
        return tuple(mutated)

    def covering(self) -> list[tuple[T, ...]]:
        """A few rows that together hold every candidate of every place."""
        most = max(map(len, self.candidates), default=1)
        return [tuple(offered[number % len(offered)] for offered in self.candidates) for number in range(most)]
