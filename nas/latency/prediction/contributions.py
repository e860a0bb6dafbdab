"""Errors of predictions by slot and layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.latency.prediction.checking import CheckReport
from nas.space import SearchSpace


@dataclass(frozen=True)
class ErrorContribution:
    """The prediction error of the checked networks with one candidate in one slot.

    Args:
        slot: The slot.
        candidate: The candidate.
        networks: Number of checked networks that have it there.
        mean_percent: Mean of their relative errors, in percent; positive if predictions are too high; `None`
            without a network.
        standard_error_percent: Standard error of that mean; `None` with fewer than two networks.
    """

    slot: str
    candidate: str
    networks: int
    mean_percent: float | None
    standard_error_percent: float | None


def error_contributions(space: SearchSpace, report: CheckReport) -> tuple[ErrorContribution, ...]:
    """Prediction errors by slot and candidate, in the order of the space.

    These are conditional means. Random networks combine every candidate with all others, so the errors of the others
    average out over many networks. They do not attribute errors: a network has a layer in every slot, and a dozen
    networks cannot show which of thirty layers an error comes from.

    Raises:
        ArchitectureError: A network of the report is not one of the space.
    """
    errors_percent = np.array([100 * check.error for check in report.checks])
    indices = space.encode([check.architecture for check in report.checks])
    return tuple(
        _contribution(slot.id, name, errors_percent[indices[:, column] == place])
        for column, slot in enumerate(space.slots)
        for place, name in enumerate(slot.candidates)
    )


def _contribution(slot: str, candidate: str, errors_percent: NDArray[np.float64]) -> ErrorContribution:
    count = len(errors_percent)
    mean = float(errors_percent.mean()) if count else None
    error = float(errors_percent.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    return ErrorContribution(slot, candidate, count, mean, error)
