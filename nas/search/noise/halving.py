"""Which architectures a second scoring spends more parts of the held-out data on: those whose order is in doubt.

All candidates are first scored on a few parts. Those that another one then distinguishably dominates are left as they
are, and so are those that can be told from all others. The rest get twice as many parts, and so on: successive halving
(Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016), with a test of
significance in place of the fixed share that is dropped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from nas.quality.base import Direction
from nas.search.noise.differences import Difference, difference

FIRST_PARTS = 8
"""Parts that each candidate is scored on at first; with fewer, the noise itself is hardly known."""

Parts = Mapping[str, Sequence[float]]


@dataclass
class Halving:
    """The rounds of a second scoring. Equal scores give equal rounds, so an interrupted scoring repeats its decisions.

    Args:
        latencies_ms: Latencies of the candidates by id, or their second objective if it is another one; the most
            important candidate first. If the budget is too small for all of them, the last ones get no parts.
        direction: Direction of the scores.
        most: Parts of the held-out data.
        budget: Parts that may be scored in all, over all candidates.
        levels: How many parts candidates have before the first round, by id; they are not part of the budget.
    """

    latencies_ms: Mapping[str, float]
    direction: Direction
    most: int
    budget: int
    levels: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.budget += sum(self.levels.values())

    def next_round(self, parts: Parts) -> dict[str, int]:
        """How many parts architectures should have now; empty when the scoring is done.

        Args:
            parts: The scores on parts that there are, by id. Architectures that could not be scored are missing.
        """
        first = min(FIRST_PARTS, self.most)
        if lacking := [name for name in self.latencies_ms if self.levels.get(name, 0) < first]:
            return self._advance(self._affordable(lacking, first), first)
        known = {name: parts[name][:level] for name, level in self.levels.items() if name in parts}
        doubted = in_doubt(known, self.latencies_ms, self.direction)
        lowest = [name for name in doubted if self.levels[name] < self.most]
        return self._advance(lowest, min(2 * max(self.levels.values()), self.most)) if lowest else {}

    def _affordable(self, names: Sequence[str], level: int) -> list[str]:
        """The first of some architectures, as many as the budget raises to a level: fewer parts each tell nothing."""
        left = self.budget - sum(self.levels.values())
        costs = itertools.accumulate(level - self.levels.get(name, 0) for name in names)
        return [name for name, cost in zip(names, costs, strict=True) if cost <= left]

    def _advance(self, names: list[str], level: int) -> dict[str, int]:
        """Raise architectures to a level; if the budget does not allow that, to the highest that all of them get."""
        left = self.budget - sum(self.levels.values())
        while sum(max(level - self.levels.get(name, 0), 0) for name in names) > left:
            level -= 1
        raised = {name: level for name in names if level > self.levels.get(name, 0)}
        self.levels |= raised
        return raised


def in_doubt(parts: Parts, latencies_ms: Mapping[str, float], direction: Direction) -> list[str]:
    """The architectures that may be on the front, and that the noise cannot tell from another one of these.

    Args:
        parts: Scores on parts, by id.
        latencies_ms: Latencies, by id.
        direction: Direction of the scores.

    Returns:
        Their ids, in the order of `undominated`.
    """
    names = undominated(parts, latencies_ms, direction)
    told = {(one, other): _clear(difference(parts[one], parts[other])) for one in names for other in names}
    return [one for one in names if not all(told[one, other] for other in names if other != one)]


def undominated(parts: Parts, latencies_ms: Mapping[str, float], direction: Direction) -> list[str]:
    """The architectures that no other one distinguishably dominates; same arguments as `in_doubt`.

    Returns:
        Their ids; those that are furthest from being dominated come first.
    """
    sign = 1 if direction == "minimize" else -1
    margins = {}
    for name, row in parts.items():
        rivals = (other for other in parts if other != name and latencies_ms[other] <= latencies_ms[name])
        found = [gap for other in rivals if (gap := difference(row, parts[other])) is not None]
        if not any(gap.distinguishable and sign * gap.mean > 0 for gap in found):
            margins[name] = max((math.copysign(gap.errors, sign * gap.mean) for gap in found), default=-math.inf)
    return sorted(margins, key=margins.__getitem__)


def _clear(gap: Difference | None) -> bool:
    return gap is not None and gap.distinguishable


def comparable_scores(parts: Parts) -> dict[str, float]:
    """Scores of architectures with different numbers of parts, as if all had been scored on the most.

    The mean of the first parts differs from that of more parts by what these parts are worth, which is mostly the same
    for all architectures. It is estimated from the architectures that have both, and added.

    Args:
        parts: Scores on parts, by id; the parts of one architecture are the first parts of another that has more.
    """
    levels = sorted({len(row) for row in parts.values()})
    worth = dict.fromkeys(levels, 0.0)
    for lower, higher in reversed(list(itertools.pairwise(levels))):
        both = [fmean(row[:higher]) - fmean(row[:lower]) for row in parts.values() if len(row) >= higher]
        worth[lower] = worth[higher] + fmean(both)
    return {name: fmean(row) + worth[len(row)] for name, row in parts.items()}
