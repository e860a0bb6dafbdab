"""From raw samples to figures: what a latency table keeps of the times that were measured.

The latency is the 25th percentile of samples that have been freed of what the machine's pace did to all of them, see
`nas.latency.measuring.windows`. What is left is disturbance of single calls: a narrow mode and a long tail above
it, whatever the machine. A low percentile stays inside the mode as long as a quarter of the calls are undisturbed.
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
    """What is known of one call's latency, in milliseconds.

    Args:
        latency_ms: 25th percentile, or what other quantile was asked for.
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
    binomial distribution gives whatever the samples' own distribution is (Conover, Practical Nonparametric
    Statistics, 3.2). It takes samples as independent; where a machine is slow for seconds on end, they are not,
    which is why windows of drift are left out before. With few samples the lower end is the least of them.

    Args:
        samples_ms: The samples.
        quantile: What of them the latency is, from 0 to 0.5.
    """
    ordered = np.sort(np.asarray(samples_ms, dtype=np.float64))
    number = len(ordered)
    latency_ms, median_ms, p90_ms = np.quantile(ordered, (quantile, 0.5, 0.9))
    tail = (1 - CONFIDENCE) / 2
    low, high = stats.binom.ppf([tail, 1 - tail], number, quantile).astype(int)
    # The quantile itself lies inside whatever the rounding of ranks does to the ends.
    ci_low_ms = min(ordered[max(low - 1, 0)], latency_ms)
    ci_high_ms = max(ordered[min(high, number - 1)], latency_ms)
    return Summary(float(latency_ms), float(ci_low_ms), float(ci_high_ms), float(median_ms), float(p90_ms), number)
