"""Covariance of the quality of two architectures, as kernels of scikit-learn.

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
# Logarithms, mean and deviation. They keep a fit to a few points from calling everything noise, or nothing.
_PRIORS = {
    "decay": (np.log(0.3), 1.0),
    "constant_value": (0.0, 1.0),
    "noise_level": (np.log(0.02), 1.5),
}


class ChoiceKernel(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """`exp(-sum of the decays of all slots where two architectures differ)`.

    Args:
        decay: One per slot: how much a different choice there tells the qualities apart.
        decay_bounds: Of the fit.
    """

    def __init__(self, decay: ArrayLike, decay_bounds: tuple[float, float] = _BOUNDS) -> None:
        self.decay, self.decay_bounds = decay, decay_bounds

    @property
    def hyperparameter_decay(self) -> Hyperparameter:
        """What the fit may change."""
        return Hyperparameter("decay", "numeric", self.decay_bounds, len(np.atleast_1d(self.decay)))

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance of rows, and where wanted its gradient by the logarithms of the hyperparameters."""
        other = X if Y is None else Y
        decay = np.atleast_1d(self.decay)
        differ = [np.not_equal.outer(X[:, slot], other[:, slot]) for slot in range(len(decay))]
        exponent = np.zeros((len(X), len(other)))
        for each, differs in zip(decay, differ, strict=True):
            exponent -= each * differs
        kernel = np.exp(exponent)
        if not eval_gradient:
            return kernel
        # By the logarithm of the decay, as scikit-learn wants it.
        return kernel, np.stack(
            [-each * differs * kernel for each, differs in zip(decay, differ, strict=True)], axis=-1
        )


class FeatureKernel(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """`exp(-decay times the sum of absolute differences)` of the features behind the choices.

    Args:
        slots: Columns of choices, which are left out.
        decay: How much a difference of 1 tells the qualities apart.
        decay_bounds: Of the fit.
    """

    def __init__(self, slots: int, decay: float, decay_bounds: tuple[float, float] = _BOUNDS) -> None:
        self.slots, self.decay, self.decay_bounds = slots, decay, decay_bounds

    @property
    def hyperparameter_decay(self) -> Hyperparameter:
        """What the fit may change."""
        return Hyperparameter("decay", "numeric", self.decay_bounds)

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance of rows, and where wanted its gradient by the logarithms of the hyperparameters."""
        other = X if Y is None else Y
        distance = cdist(X[:, self.slots :], other[:, self.slots :], "cityblock")
        kernel = np.exp(-self.decay * distance)
        return (kernel, (-self.decay * distance * kernel)[:, :, None]) if eval_gradient else kernel


def architecture_kernel(slots: int, columns: int) -> Kernel:
    """Choices, features in the columns behind them where there are any, and noise, each with a weight of its own."""
    kernel = ConstantKernel(1.0, (0.02, 50.0)) * ChoiceKernel(np.full(slots, 0.3))
    if columns > slots:
        kernel = kernel + ConstantKernel(1.0, (0.02, 50.0)) * FeatureKernel(slots, 0.3)
    return kernel + WhiteKernel(0.02, (1e-4, 2.0))


def log_prior(kernel: Kernel, theta: Floats) -> tuple[float, Floats]:
    """Logarithm of the prior of a kernel's parameters, up to a constant, and its gradient."""
    priors = []
    for parameter in kernel.hyperparameters:
        priors += [_PRIORS[parameter.name.rsplit("__", 1)[-1]]] * parameter.n_elements
    mean, deviation = np.array(priors).T
    z = (theta - mean) / deviation
    return float(-0.5 * z @ z), -z / deviation
