"""Calibrating the roofline model: least squares of relative errors over latencies that others published.

Few latencies are published, most of them of one chip. So each constant has a prior, a plausible value with a spread,
and the fit is a maximum a posteriori estimate with log-normal priors. A latency that the model cannot explain counts
linearly, not quadratically.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from nas.latency.estimating.chips import Chip
from nas.latency.estimating.roofline import Constants, Workload

NOISE = 0.1
"""Relative error of the model."""

_OUTLIER = 2.0
"""Errors beyond this many times `NOISE` count linearly."""

# Plausible values, and the spread of their logarithms.
_PRIORS: dict[str, tuple[float, float]] = {
    "neural_engine_efficiency": (0.85, 0.1),
    "neural_engine_attention_efficiency": (0.08, 0.8),
    "gpu_efficiency": (0.6, 0.5),
    "gpu_attention_efficiency": (0.15, 0.7),
    "cpu_efficiency": (0.5, 0.7),
    "memory_efficiency": (0.8, 0.1),
    "on_chip_bytes_per_operation": (0.015, 0.5),
    "dispatch_ms": (0.3, 0.5),
    "gpu_operation_ms": (0.013, 1.0),
    "cpu_operation_ms": (0.005, 2.0),
}

_Values = NDArray[np.float64]


@dataclass(frozen=True)
class Observation:
    """A latency that somebody measured and published.

    Args:
        workload: The network.
        chip: The chip it ran on.
        latency_ms: Latency of one call.
        spread_ms: Standard deviation of the calls, or half of the last digit that was published.
        weight: How much it counts, beside others of the same kind of network.
    """

    workload: Workload
    chip: Chip
    latency_ms: float
    spread_ms: float = 0.0
    weight: float = 1.0

    @property
    def noise(self) -> float:
        """The relative error that is expected of the model."""
        return math.hypot(NOISE, self.spread_ms / self.latency_ms)

    def error(self, constants: Constants) -> float:
        """The relative error of the model; 0.1 if its latency is 10% too high."""
        return self.workload.call_ms(self.chip, constants) / self.latency_ms - 1


def calibrate(observations: Sequence[Observation]) -> Constants:
    """The constants that explain published latencies best; the plausible values if there are none.

    Args:
        observations: Published latencies, of any chips and compute units.
    """
    centre = np.log([plausible for plausible, _ in _PRIORS.values()])
    spread = np.array([deviation for _, deviation in _PRIORS.values()])
    noise = np.array([observation.noise for observation in observations])
    weights = np.array([observation.weight for observation in observations])

    def residuals(logs: _Values) -> _Values:
        errors = np.log1p([observation.error(_constants(logs)) for observation in observations]) / noise
        return np.concatenate([np.sqrt(weights) * _damped(errors), (logs - centre) / spread])

    return _constants(least_squares(residuals, centre).x)


def _constants(logs: _Values) -> Constants:
    return Constants(**{name: float(value) for name, value in zip(_PRIORS, np.exp(logs), strict=True)})


def _damped(errors: _Values) -> _Values:
    """Errors whose squares are Cauchy's loss, so that a latency far off has little more weight than a near one."""
    damped: _Values = np.sign(errors) * _OUTLIER * np.sqrt(np.log1p((errors / _OUTLIER) ** 2))
    return damped
