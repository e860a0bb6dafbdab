"""The linear fit of whole networks to the sums of their blocks, and the scatter of networks around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.errors import ConfigError

COVERAGE = 0.9
MIN_NETWORKS = 3
MIN_NETWORKS_FOR_OFFSET = 5

_Values = NDArray[np.float64]
_Estimate = Callable[[_Values, _Values], tuple[float, float]]


class LinearFit(NamedTuple):
    """A line, and the scatter of networks around it.

    Args:
        scale: Factor of the sum.
        offset_ms: Time that is added to it.
        interval_percent: The ends of a prediction's 90% interval are the prediction times and divided by this factor;
            here less 1, in percent.
    """

    scale: float
    offset_ms: float
    interval_percent: float


_WIDEST = math.log(1e6)
"""Half width, on logarithms, of an interval that says nothing: a million times as fast or as slow."""


def fit_line(sums_ms: Sequence[float] | _Values, measured_ms: Sequence[float] | _Values) -> LinearFit:
    """Fit whole networks to the sums of their blocks.

    There are two candidates: a factor, which is the geometric mean of measured over sum, and a factor with an offset,
    by least squares of relative errors. The offset stands for work on the network as a whole, such as changing the
    layout of data between blocks that all architectures have. It is used if it predicts each network better from the
    others (leave-one-out). It is never used for fewer than 5 networks, or if the line does not rise.

    The interval is the usual one for a further observation from a normal distribution whose mean and deviation are
    estimated (Hahn and Meeker, Statistical Intervals, 4.7), on logarithms: t * s * sqrt(1 + p/n) for n networks and
    p estimates, with Student's t of n - p degrees of freedom.

    Args:
        sums_ms: Sums over the blocks of at least 3 networks, all above 0.
        measured_ms: Latencies of the whole networks, all above 0.

    Raises:
        ConfigError: There are fewer than 3 networks, or their latencies have nothing to do with the sums.
    """
    from scipy import stats  # half a second, which predictions without a fit do without

    require_enough(len(sums_ms))
    sums, measured = np.asarray(sums_ms, np.float64), np.asarray(measured_ms, np.float64)
    number = len(sums)
    offered = number >= MIN_NETWORKS_FOR_OFFSET
    affine = offered and _left_out(_affine, sums, measured) < _left_out(_factor, sums, measured)
    scale, offset_ms = (_affine if affine else _factor)(sums, measured)
    residuals = np.log(measured / (scale * sums + offset_ms))
    # An offset that could be chosen counts as estimated even if it was not, because the choice used the data.
    estimates = 2 if offered else 1
    deviation = math.sqrt(float(np.sum(residuals**2)) / (number - estimates))
    quantile = float(stats.t.ppf((1 + COVERAGE) / 2, number - estimates))
    half_width = quantile * deviation * math.sqrt(1 + estimates / number)
    if not half_width < _WIDEST:
        hint = "measure the blocks and the networks again, under the same conditions"
        raise ConfigError("the latencies of the networks have nothing to do with the sums of their blocks", hint=hint)
    return LinearFit(scale, offset_ms, 100 * math.expm1(half_width))


def require_enough(networks: int) -> None:
    """Raise `ConfigError` if there are too few networks to estimate their scatter."""
    if networks < MIN_NETWORKS:
        hint = "measure more; a search space that has fewer needs no fit"
        raise ConfigError(f"a fit needs at least {MIN_NETWORKS} networks, got {networks}", hint=hint)


def _factor(sums: _Values, measured: _Values) -> tuple[float, float]:
    return float(np.exp(np.mean(np.log(measured / sums)))), 0.0


def _affine(sums: _Values, measured: _Values) -> tuple[float, float]:
    relative = np.stack([sums, np.ones_like(sums)], axis=1) / measured[:, None]
    scale, offset_ms = np.linalg.lstsq(relative, np.ones_like(sums))[0]
    return float(scale), float(offset_ms)


def _left_out(estimate: _Estimate, sums: _Values, measured: _Values) -> float:
    """Mean square of the relative errors of networks left out one by one; infinite for an impossible line."""
    errors = []
    for place in range(len(sums)):
        others = np.arange(len(sums)) != place
        scale, offset_ms = estimate(sums[others], measured[others])
        # Checked at half of the least sum, because other architectures may be smaller than the measured ones.
        if scale <= 0 or scale * sums.min() / 2 + offset_ms <= 0:
            return math.inf
        errors.append((scale * sums[place] + offset_ms) / measured[place] - 1)
    return float(np.mean(np.square(errors)))
