"""Kernels for scikit-learn: the covariance of the qualities of two architectures.

A row of the input is an architecture: one label per slot, which says what the slot holds, then the features. Equal
candidates of different slots have equal labels. Shape suffixes: N and M rows.
"""

from __future__ import annotations

from typing import Any, Literal

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
    "distinctness": (0.0, 1.0),
    "importance": (0.0, 0.5),
    "weight": (np.log(0.05), 1.0),
    "constant_value": (np.log(0.5), 1.0),
    "noise_level": (np.log(0.1), 1.0),
}


class ChoiceKernel(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """`exp(-sum of decay * mean distinctness of both candidates)`, over the slots where two architectures differ.

    A candidate has the same distinctness in every slot, so what one slot shows of a layer holds for the others. With a
    distinctness of 1 everywhere, the kernel compares the choices of each slot alone.

    Args:
        decay: One per slot: how much a different choice there changes the quality.
        distinctness: One for each of the first labels: how much quality changes when this candidate comes or goes. It
            is 1 for all other labels.
        decay_bounds: Bounds of the fit.
        distinctness_bounds: Bounds of the fit; `fixed` to leave it as it is.
    """

    def __init__(
        self,
        decay: ArrayLike,
        distinctness: ArrayLike = 1.0,
        decay_bounds: tuple[float, float] = _BOUNDS,
        distinctness_bounds: tuple[float, float] | Literal["fixed"] = (1e-2, 20.0),
    ) -> None:
        self.decay, self.distinctness = decay, distinctness
        self.decay_bounds, self.distinctness_bounds = decay_bounds, distinctness_bounds

    @property
    def hyperparameter_decay(self) -> Hyperparameter:
        """The importance of slots, which is fitted."""
        return Hyperparameter("decay", "numeric", self.decay_bounds, len(np.atleast_1d(self.decay)))

    @property
    def hyperparameter_distinctness(self) -> Hyperparameter:
        """The importance of candidates, which is fitted unless it is fixed."""
        count = len(np.atleast_1d(self.distinctness))
        return Hyperparameter("distinctness", "numeric", self.distinctness_bounds, count)

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance of rows, and on request its gradient by the logarithms of the hyperparameters."""
        decay, given = np.atleast_1d(self.decay), np.atleast_1d(self.distinctness)
        left, right = (_labels(rows, len(decay)) for rows in (X, X if Y is None else Y))
        distinctness = np.ones(max(left.max(initial=0), right.max(initial=0), len(given) - 1) + 1)
        distinctness[: len(given)] = given
        slopes = [
            -slot_decay * np.not_equal.outer(of, to) * np.add.outer(distinctness[of], distinctness[to]) / 2
            for slot_decay, of, to in zip(decay, left.T, right.T, strict=True)
        ]
        kernel = np.exp(sum(slopes))
        if not eval_gradient:
            return kernel
        if not self.hyperparameter_distinctness.fixed:
            slopes += [-part * _either(left == label, right == label, decay) / 2 for label, part in enumerate(given)]
        # By the logarithms of the hyperparameters, as scikit-learn expects.
        return kernel, np.stack(slopes, axis=-1) * kernel[:, :, None]


class CountKernel(StationaryKernelMixin, NormalizedKernelMixin, Kernel):  # type: ignore[misc]
    """Matern kernel of smoothness 3/2 over how often each candidate occurs, where some slots count more than others.

    Two architectures with the same layers in other places are alike. The kernel learns how alike, by the weight of each
    slot in the counts.

    Args:
        importance: One per slot: how much a candidate in this slot adds to its count.
        weight: One for each of the first labels: how much a difference of 1 in its count changes the quality.
        importance_bounds: Bounds of the fit.
        weight_bounds: Bounds of the fit.
    """

    def __init__(
        self,
        importance: ArrayLike,
        weight: ArrayLike,
        importance_bounds: tuple[float, float] = (0.05, 5.0),
        weight_bounds: tuple[float, float] = _BOUNDS,
    ) -> None:
        self.importance, self.weight = importance, weight
        self.importance_bounds, self.weight_bounds = importance_bounds, weight_bounds

    @property
    def hyperparameter_importance(self) -> Hyperparameter:
        """The importance of slots, which is fitted."""
        return Hyperparameter("importance", "numeric", self.importance_bounds, len(np.atleast_1d(self.importance)))

    @property
    def hyperparameter_weight(self) -> Hyperparameter:
        """The weight of candidates, which is fitted."""
        return Hyperparameter("weight", "numeric", self.weight_bounds, len(np.atleast_1d(self.weight)))

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariance of rows, and on request its gradient by the logarithms of the hyperparameters."""
        importance, weight = np.atleast_1d(self.importance), np.atleast_1d(self.weight)
        left, right = (_one_hot(rows, len(importance), len(weight)) for rows in (X, X if Y is None else Y))
        counts, others = (np.einsum("nsl,s->nl", chosen, importance) for chosen in (left, right))
        kernel, fading = _matern(counts * np.sqrt(weight), others * np.sqrt(weight))
        if not eval_gradient:
            return kernel
        difference = counts[:, None] - others[None]
        by_weight = weight * difference**2
        # The sum over labels of `weight * difference * (left - right)`, without an array over slots and labels.
        pull = 2 * weight * difference
        by_slot = np.einsum("nml,nsl->nms", pull, left) - np.einsum("nml,msl->nms", pull, right)
        return kernel, -1.5 * fading[:, :, None] * np.concatenate([by_slot * importance, by_weight], axis=-1)


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
        kernel, fading = _matern(left, right)
        if not eval_gradient:
            return kernel
        squares = (left[:, None, :] - right[None, :, :]) ** 2
        return kernel, -1.5 * fading[:, :, None] * squares


def architecture_kernel(slots: int, columns: int, shared: int = 0) -> Kernel:
    """The kernel of architectures: a weighted sum of kernels and of noise.

    Args:
        slots: Number of slots.
        columns: Columns of a row: one label per slot, then the features.
        shared: Number of labels that several slots offer; they come first.
    """
    choices = ChoiceKernel(np.full(slots, 0.3), distinctness_bounds="fixed")
    if shared:
        choices = ChoiceKernel(np.full(slots, 0.3), np.ones(shared))
    kernel = _amount() * choices
    if shared:
        kernel = kernel + _amount() * CountKernel(np.ones(slots), np.full(shared, 0.1))
    if columns > slots:
        kernel = kernel + _amount() * FeatureKernel(slots, np.full(columns - slots, 0.05))
    return kernel + WhiteKernel(0.1, (1e-4, 2.0))


def _amount() -> ConstantKernel:
    return ConstantKernel(0.5, (0.02, 50.0))


def _labels(rows: Floats, slots: int) -> NDArray[np.int64]:
    return rows[:, :slots].astype(np.int64)


def _one_hot(rows: Floats, slots: int, labels: int) -> Floats:
    chosen: Floats = (rows[:, :slots, None] == np.arange(labels)).astype(np.float64)
    return chosen


def _either(left: NDArray[np.bool_], right: NDArray[np.bool_], weight: Floats) -> Floats:
    """Sum of the weights of the columns that are set in exactly one of two rows."""
    ours, theirs = left.astype(np.float64), right.astype(np.float64)
    total: Floats = (ours @ weight)[:, None] + (theirs @ weight)[None] - 2 * (ours * weight) @ theirs.T
    return total


def _matern(left: Floats, right: Floats) -> tuple[Floats, Floats]:
    """The kernel `(1 + sqrt(3) d) exp(-sqrt(3) d)` of distances d, and its exponential part."""
    root = np.sqrt(3) * cdist(left, right)
    fading = np.exp(-root)
    return (1 + root) * fading, fading


def log_prior(kernel: Kernel, theta: Floats) -> tuple[float, Floats]:
    """Logarithm of the prior of a kernel's free parameters, up to a constant, and its gradient."""
    priors = []
    for parameter in kernel.hyperparameters:
        if parameter.fixed:
            continue
        priors += [_PRIORS[parameter.name.rsplit("__", 1)[-1]]] * parameter.n_elements
    mean, deviation = np.array(priors).T
    z = (theta - mean) / deviation
    return float(-0.5 * z @ z), -z / deviation
