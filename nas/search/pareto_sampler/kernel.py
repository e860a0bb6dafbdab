"""Kernels for scikit-learn: the covariance of the qualities of two architectures.

A row of the input is an architecture: D places of choices, then its features. Shape suffixes: N and M rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.gaussian_process.kernels import (
    ConstantKernel,
    Hyperparameter,
    Kernel,
    NormalizedKernelMixin,
    StationaryKernelMixin,
    WhiteKernel,
)

Floats = NDArray[np.float64]

_BOUNDS = (1e-3, 20.0)
# Mean and deviation of the logarithms. They keep a fit to few points from taking everything, or nothing, for noise.
_PRIORS = {
    "decay": (np.log(0.3), 1.0),
    "weight": (np.log(0.05), 1.0),
    "constant_value": (np.log(0.5), 1.0),
    "noise_level": (np.log(0.1), 0.5),
}


class ChoiceKernel(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """`exp(-sum of the decays of all slots where two architectures differ)`.

    Args:
        decay: One per slot: how much a different choice there changes the quality.
        decay_bounds: Bounds of the fit.
    """

    def __init__(self, decay: ArrayLike, decay_bounds: tuple[float, float] = _BOUNDS) -> None:
        self.decay, self.decay_bounds = decay, decay_bounds

    @property
    def hyperparameter_decay(self) -> Hyperparameter:
        """The hyperparameter that is fitted."""
        return Hyperparameter("decay", "numeric", self.decay_bounds, len(np.atleast_1d(self.decay)))

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance of rows, and on request its gradient by the logarithms of the hyperparameters."""
        columns = X if Y is None else Y
        decay = np.atleast_1d(self.decay)
        differ = [np.not_equal.outer(X[:, slot], columns[:, slot]) for slot in range(len(decay))]
        exponent = np.zeros((len(X), len(columns)))
        for slot_decay, differs in zip(decay, differ, strict=True):
            exponent -= slot_decay * differs
        kernel = np.exp(exponent)
        if not eval_gradient:
            return kernel
        # By the logarithm of the decay, as scikit-learn expects.
        return kernel, np.stack(
            [-slot_decay * differs * kernel for slot_decay, differs in zip(decay, differ, strict=True)], axis=-1
        )


class FeatureKernel(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """Matern kernel of smoothness 3/2 over the features, each with its own weight.

    With `d^2 = sum of weight times squared difference`, it is `(1 + sqrt(3) d) exp(-sqrt(3) d)` (Rasmussen and
    Williams, "Gaussian Processes for Machine Learning", 2006, equation 4.17, with automatic relevance determination).

    Args:
        slots: Columns of choices, which are left out.
        weight: One per feature: how much a difference of 1 there changes the quality.
        weight_bounds: Bounds of the fit.
    """

    def __init__(self, slots: int, weight: ArrayLike, weight_bounds: tuple[float, float] = _BOUNDS) -> None:
        self.slots, self.weight, self.weight_bounds = slots, weight, weight_bounds

    @property
    def hyperparameter_weight(self) -> Hyperparameter:
        """The hyperparameter that is fitted."""
        return Hyperparameter("weight", "numeric", self.weight_bounds, len(np.atleast_1d(self.weight)))

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance of rows, and on request its gradient by the logarithms of the hyperparameters."""
        scale = np.sqrt(np.atleast_1d(self.weight))
        left, right = (rows[:, self.slots :] * scale for rows in (X, X if Y is None else Y))
        root = np.sqrt(3) * cdist(left, right)
        fading = np.exp(-root)
        kernel = (1 + root) * fading
        if not eval_gradient:
            return kernel
        squares = (left[:, None, :] - right[None, :, :]) ** 2
        return kernel, -1.5 * fading[:, :, None] * squares


def architecture_kernel(slots: int, columns: int) -> Kernel:
    """The kernel of architectures: a weighted sum of kernels of choices, of features if there are any, and of noise."""
    kernel = ConstantKernel(0.5, (0.02, 50.0)) * ChoiceKernel(np.full(slots, 0.3))
    if columns > slots:
        kernel = kernel + ConstantKernel(0.5, (0.02, 50.0)) * FeatureKernel(slots, np.full(columns - slots, 0.05))
    return kernel + WhiteKernel(0.1, (1e-4, 2.0))


def log_prior(kernel: Kernel, theta: Floats) -> tuple[float, Floats]:
    """Logarithm of the prior of a kernel's parameters, up to a constant, and its gradient."""
    priors = []
    for parameter in kernel.hyperparameters:
        priors += [_PRIORS[parameter.name.rsplit("__", 1)[-1]]] * parameter.n_elements
    mean, deviation = np.array(priors).T
    z = (theta - mean) / deviation
    return float(-0.5 * z @ z), -z / deviation
