"""Scores of architectures, and failures to score them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import NasError, OutOfMemoryError, TrainingError
from nas.quality.base import MeanScore, QualityMetric
from nas.space import Architecture

logger = logging.getLogger("nas")


@dataclass(frozen=True)
class Score:
    """The score of an architecture; finite.

    Args:
        value: The score.
        parts: Scores on parts of the held-out data, of which it is the mean; empty if there is one part.
    """

    value: float
    parts: tuple[float, ...] = ()


def score(quality: QualityMetric, architecture: Architecture) -> Score:
    """Score an architecture, once.

    Raises:
        ArithmeticError: The score is not finite.
    """
    return _checked(quality, quality.score(architecture))


def score_more(quality: QualityMetric, architecture: Architecture, known: Sequence[float], count: int) -> Score:
    """Add parts to a score, up to `count` of them; the parts that are known are not scored again.

    Raises:
        ArithmeticError: The score is not finite.
    """
    new = quality.score_parts(architecture, range(len(known), count))
    return _checked(quality, MeanScore([*known, *new]))


def _checked(quality: QualityMetric, value: float) -> Score:
    if not math.isfinite(value):
        raise ArithmeticError(f"{quality.name} is {float(value)}")
    parts: tuple[float, ...] = getattr(value, "parts", ())  # of a `MeanScore`
    return Score(float(value), parts if len(parts) > 1 else ())


def is_mistake(error: Exception) -> bool:
    """Whether what scoring raised is a user's mistake, which is the same for every architecture.

    Diverging training, exhausted memory and every error that is no `NasError` belong to one architecture.
    """
    return isinstance(error, NasError) and not isinstance(error, TrainingError | OutOfMemoryError)


class Failures:
    """Counts failed scores, and gives up when too many of them come in a row.

    Args:
        most: Failures in a row that end the run.
        study: Name of the study, for messages.
        hint: What to do then.
    """

    def __init__(self, most: int, study: str, hint: str) -> None:
        self.most, self.study, self.hint = most, study, hint
        self.total = self._in_a_row = 0
        self.last = ""

    def end_of_row(self) -> None:
        """Note that a score succeeded."""
        self._in_a_row = 0

    def add(self, architecture: Architecture, failure: str) -> None:
        """Note and log a failure."""
        logger.warning("scoring %s failed: %s", architecture.id, failure)
        self.last = failure
        self.total += 1
        self._in_a_row += 1

    def check(self, cause: Exception | None) -> None:
        """Give up if too many came in a row.

        Raises:
            NasError: They did; the message has the last failure.
        """
        if self._in_a_row >= self.most:
            raise NasError(f"{self._in_a_row} evaluations in a row failed, the last one with {self.last}",
                           where=f"study {self.study}", hint=self.hint) from cause  # fmt: skip
