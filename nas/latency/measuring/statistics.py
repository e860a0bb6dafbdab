"""From raw samples to the figures of a latency table.

The latency is the 25th percentile of detrended samples, see `nas.latency.measuring.detrending`. Only the disturbances
of single calls are left in them: on every machine, a narrow mode and a long tail above it. A low percentile stays
inside the mode as long as a quarter of the calls are undisturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

QUANTILE = 0.25
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """The latency of one call, in milliseconds.

    Args:
        latency_ms: 25th percentile, or another quantile if asked for.
        ci_low_ms: Lower end of its 95% confidence interval.
        ci_high_ms: Upper end.
        median_ms: Median.
        p90_ms: 90th percentile.
        samples: Number of timed calls.
    """

    latency_ms: float
    ci_low_ms: float
    ci_high_ms: float
    median_ms: float
    p90_ms: float
    samples: int

    @property
    def interval_percent(self) -> float:
        """Half the width of the interval, in percent of the latency."""
        return 50 * (self.ci_high_ms - self.ci_low_ms) / self.latency_ms


def summarise(samples_ms: Sequence[float] | NDArray[np.float64], quantile: float = QUANTILE) -> Summary:
    """Summarise at least one sample.

    The interval lies between two order statistics, whose ranks enclose the quantile with a probability that the
    binomial distribution gives for any distribution of the samples (Conover, Practical Nonparametric Statistics,
    3.2). It assumes independent samples. They are not independent while a machine is slow for seconds, which is
    why windows with drift are left out before. With few samples the lower end is the least of them.

    Args:
        samples_ms: The samples.
        quantile: Quantile that is reported as the latency, from 0 to 0.5.
    """
    ordered = np.sort(np.asarray(samples_ms, dtype=np.float64))
    number = len(ordered)
    latency_ms, median_ms, p90_ms = np.quantile(ordered, (quantile, 0.5, 0.9))
    tail = (1 - CONFIDENCE) / 2
    low, high = stats.binom.ppf([tail, 1 - tail], number, quantile).astype(int)
    # Rounding of ranks must not push the quantile out of its interval.
    ci_low_ms = min(ordered[max(low - 1, 0)], latency_ms)
    ci_high_ms = max(ordered[min(high, number - 1)], latency_ms)
    return Summary(float(latency_ms), float(ci_low_ms), float(ci_high_ms), float(median_ms), float(p90_ms), number)
