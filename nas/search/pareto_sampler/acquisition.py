"""The expected gain of one more evaluation, with a known latency and a predicted quality.

Shape suffixes: N candidates, F members of the front.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

_NORMAL = 1 / np.sqrt(2 * np.pi)


def expected_hypervolume_gain(
    latency_N: Floats, mean_N: Floats, deviation_N: Floats, front_F2: Floats, reference: tuple[float, float]
) -> Floats:
    """Expected growth of the dominated area, exact for a known latency and a normally distributed loss.

    If one of two objectives is known, the area that a point adds is a sum over the steps of the front to its right: the
    width of the step times the distance of the point below it. Its expectation is the same sum of expected
    improvements (Jones et al., "Efficient global optimization of expensive black-box functions", 1998, equation 15),
    one per step. This is the expected hypervolume improvement (Emmerich et al., 2006) without the integrals over the
    second objective.

    Args:
        latency_N: Known latencies.
        mean_N: Expected losses; less is better.
        deviation_N: Standard deviations of the losses, above zero.
        front_F2: Latency and loss of the front's members, fastest first; all better than the reference.
        reference: Reference point: latency and loss.

    Returns:
        Shape (N,): the gain in units of latency times loss; zero for candidates slower than the reference.
    """
    begins = np.concatenate([[-np.inf], front_F2[:, 0]])
    ends = np.concatenate([front_F2[:, 0], [reference[0]]])
    levels = np.concatenate([[reference[1]], front_F2[:, 1]])
    gain_N = np.zeros(len(latency_N))
    for begin, end, level in zip(begins, ends, levels, strict=True):
        reach = latency_N < end
        width = end - np.maximum(begin, latency_N[reach])
        gain_N[reach] += width * expected_improvement(mean_N[reach], deviation_N[reach], level)
    return gain_N


def expected_improvement(mean_N: Floats, deviation_N: Floats, level: float) -> Floats:
    """Expected distance of a normally distributed loss below a level; losses above it count zero."""
    z = (level - mean_N) / deviation_N
    improvement: Floats = deviation_N * (z * ndtr(z) + _NORMAL * np.exp(-0.5 * z**2))
    return improvement
