"""The accuracy of predicted latencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nas.errors import ConfigError


@dataclass(frozen=True)
class Accuracy:
    """Errors over several networks, relative to the measured latency; shares lie between 0 and 1.

    Args:
        mape: Mean absolute error.
        within_5_percent: Share of networks whose absolute error is at most 0.05.
        within_10_percent: Share of networks whose absolute error is at most 0.1.
        worst: Largest absolute error.
        spearman: Rank correlation of predicted and measured latency; `None` if all values of one of them are equal.
    """

    mape: float
    within_5_percent: float
    within_10_percent: float
    worst: float
    spearman: float | None


def accuracy(
    predicted_ms: Sequence[float] | NDArray[np.float64], measured_ms: Sequence[float] | NDArray[np.float64]
) -> Accuracy:
    """Compare predictions with measurements of the same networks.

    Args:
        predicted_ms: Predicted latencies.
        measured_ms: Measured latencies, in the same order.

    Raises:
        ConfigError: There are none, or their numbers differ.
    """
    predicted, measured = np.asarray(predicted_ms, np.float64), np.asarray(measured_ms, np.float64)
    if not len(predicted) or predicted.shape != measured.shape:
        raise ConfigError(f"cannot compare {len(predicted)} predictions with {len(measured)} measurements")
    errors = np.abs(predicted - measured) / measured
    return Accuracy(
        float(errors.mean()),
        float(np.mean(errors <= 0.05)),
        float(np.mean(errors <= 0.1)),
        float(errors.max()),
        _spearman(predicted, measured),
    )


def _spearman(predicted: NDArray[np.float64], measured: NDArray[np.float64]) -> float | None:
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return None
    return float(stats.spearmanr(predicted, measured).statistic)
