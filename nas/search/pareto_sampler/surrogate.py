"""A Gaussian process of the quality over a pool of candidates, with cheap updates.

Shape suffixes: N candidates of the pool, T trials, C columns (labels, then features).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from nas.search.pareto_sampler.kernel import log_prior

Floats = NDArray[np.float64]

_JITTER = 1e-6
_ITERATIONS = 20
_ROOM = 64


def fit_kernel(kernel: Kernel, rows_TC: Floats, loss_T: Floats) -> Kernel:
    """The kernel with the parameters of largest posterior probability, optimised from the present ones.

    scikit-learn provides the marginal likelihood and its gradient, and the prior is added here.

    Args:
        kernel: Ends in a `WhiteKernel`.
        rows_TC: Evaluated architectures.
        loss_T: Their losses, with mean 0 and deviation 1.
    """

    def most_probable(objective: Callable[..., Any], theta: Floats, bounds: Floats) -> tuple[Floats, float]:
        def loss(at: Floats) -> tuple[float, Floats]:
            (value, slope), (prior, prior_slope) = objective(at), log_prior(kernel, at)
            return value - prior, slope - prior_slope

        result = minimize(loss, theta, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
        return result.x, float(result.fun)

    process = GaussianProcessRegressor(kernel, alpha=_JITTER, optimizer=most_probable)
    with warnings.catch_warnings():
        # A parameter at its bound does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(rows_TC, loss_T)
    return process.kernel_


class PoolPosterior:
    """Mean and deviation over a pool, given trials to which others are added one at a time.

    It stores the Cholesky factor L of the trials' covariance and V = L^-1 K(trials, pool). Another trial is one more
    row of both: T x N operations instead of T^2 x N. Neither depends on the losses, so losses may change from call to
    call, as those of pending trials do.

    Args:
        kernel: Ends in a `WhiteKernel`; its parameters do not change.
        pool_NC: The candidates.
        rows_TC: The trials so far.
    """

    def __init__(self, kernel: Kernel, pool_NC: Floats, rows_TC: Floats) -> None:
        self.kernel, self.noise = kernel.k1, float(kernel.k2.noise_level)
        self.pool_NC, self.rows_TC = pool_NC, rows_TC
        self._variance = float(self.kernel.diag(rows_TC[:1])[0])
        covariance = self.kernel(rows_TC) + (self.noise + _JITTER) * np.eye(len(rows_TC))
        self._factor = np.linalg.cholesky(covariance)
        projected = solve_triangular(self._factor, self.kernel(rows_TC, pool_NC), lower=True)
        self._explained_N = np.einsum("tn,tn->n", projected, projected)
        # With room for more rows, so that another row does not copy all of them.
        self._buffer = np.empty((len(rows_TC) + _ROOM, len(pool_NC)))
        self._buffer[: len(rows_TC)] = projected

    def add(self, row_C: Floats) -> None:
        """Add one trial."""
        count = len(self.rows_TC)
        along = solve_triangular(self._factor, self.kernel(self.rows_TC, row_C[None])[:, 0], lower=True)
        rest = np.sqrt(max(self._variance + self.noise + _JITTER - along @ along, _JITTER))
        projected_N = (self.kernel(row_C[None], self.pool_NC)[0] - along @ self._buffer[:count]) / rest
        factor = np.zeros((count + 1, count + 1))
        factor[:count, :count], factor[count, :count], factor[count, count] = self._factor, along, rest
        self._factor = factor
        if count == len(self._buffer):
            self._buffer = np.concatenate([self._buffer, np.empty((_ROOM, len(self.pool_NC)))])
        self._buffer[count] = projected_N
        self._explained_N += projected_N**2
        self.rows_TC = np.vstack([self.rows_TC, row_C])

    def predict(self, loss_T: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean and standard deviation of an evaluation of each candidate, noise included.

        Args:
            loss_T: Losses of the trials. Pending trials have NaN, and get the mean that the others predict (the
                "kriging believer" of Ginsbourger et al., 2010).

        Returns:
            Two arrays of shape (N,), and the losses with those of pending trials filled in, shape (T,).
        """
        believed_T = self._believed(loss_T)
        weights = solve_triangular(self._factor, believed_T, lower=True)
        variance_N = np.maximum(self._variance - self._explained_N, 0) + self.noise
        return weights @ self._buffer[: len(weights)], np.sqrt(variance_N), believed_T

    def _believed(self, loss_T: Floats) -> Floats:
        pending = np.isnan(loss_T)
        if not pending.any():
            return loss_T
        known = ~pending
        covariance = self.kernel(self.rows_TC[known]) + (self.noise + _JITTER) * np.eye(int(known.sum()))
        weights = cho_solve((np.linalg.cholesky(covariance), True), loss_T[known])
        believed = loss_T.copy()
        believed[pending] = self.kernel(self.rows_TC[pending], self.rows_TC[known]) @ weights
        return believed
