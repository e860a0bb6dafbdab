"""How much of a score is noise: standard errors, and which architectures scores tell apart.

A score is a mean over parts of the held-out data, and all architectures are scored on the same parts (common random
numbers). Most of what parts differ by is therefore common to all architectures, and cancels in differences: two
architectures are compared part by part, by Student's t-test for paired samples.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""Probability with which a difference of equal architectures is called noise."""


@dataclass(frozen=True)
class Difference:
    """The difference of two scores, paired over the parts that both have.

    Args:
        mean: The first score less the second one.
        standard_error: Of the mean.
        parts: How many parts both have; two or more.
    """

    mean: float
    standard_error: float
    parts: int

    @property
    def errors(self) -> float:
        """The size of the difference, in standard errors."""
        if self.standard_error:
            return abs(self.mean) / self.standard_error
        return math.inf if self.mean else 0.0

    @property
    def distinguishable(self) -> bool:
        """Whether the difference is larger than the noise explains, at 95% confidence, two-sided."""
        return self.errors > critical_t(self.parts - 1)


def standard_error(parts: Sequence[float]) -> float | None:
    """The standard error of a score, the mean of these parts; `None` for fewer than two, which tell nothing.

    It says how far the score is from that on all possible data. To compare architectures, use `own_standard_errors`,
    which leaves out what all of them share.
    """
    return float(np.std(parts, ddof=1) / math.sqrt(len(parts))) if len(parts) > 1 else None


def own_standard_errors(rows: Sequence[Sequence[float]]) -> list[float | None]:
    """The standard errors of scores that are compared with each other, without what all of them share.

    From each part, the mean over the architectures is taken away first (Cousineau, "Confidence intervals in
    within-subject designs", 2005; Morey's correction of 2008 for the bias of that).

    Args:
        rows: For each architecture, its scores on parts. An architecture is compared with those that have all of its
            parts.

    Returns:
        For each architecture, the error; `None` with fewer than two parts, or without another one to compare with.
    """
    return [_own_standard_error(row, [other[: len(row)] for other in rows if len(other) >= len(row)]) for row in rows]


def difference(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Compare two scores over the parts that both have; `None` if these are fewer than two."""
    common = min(len(first), len(second))
    if common < 2:
        return None
    differences = np.subtract(first[:common], second[:common])
    error = standard_error(differences.tolist())
    assert error is not None
    return Difference(float(differences.mean()), error, common)


def successive_differences(rows: Sequence[Sequence[float]]) -> list[Difference | None]:
    """For each row but the first, the difference from the row before it."""
    return [difference(row, before) for before, row in itertools.pairwise(rows)]


@functools.cache
def critical_t(freedom: int) -> float:
    """The value that the size of Student's t exceeds with a probability of 5%, for these degrees of freedom.

    By bisection, because importing that of scipy takes half a second.
    """
    low, high = 0.0, 13.0  # with one degree of freedom it is 12.7, with more it is less
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _probability_within(middle, freedom) < CONFIDENCE else (low, middle)
    return high


def _probability_within(t: float, freedom: int) -> float:
    """The probability that Student's t is between -t and t (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def _own_standard_error(row: Sequence[float], rows: Sequence[Sequence[float]]) -> float | None:
    error = standard_error(np.subtract(row, np.mean(rows, axis=0)).tolist()) if len(rows) > 1 else None
    return None if error is None else error * math.sqrt(len(rows) / (len(rows) - 1))
