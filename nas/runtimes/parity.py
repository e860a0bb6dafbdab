"""How far a converted module's output is from torch's."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nas.errors import NasError
from nas.runtimes.base import Array


@dataclass(frozen=True)
class Parity:
    """Difference between two outputs.

    Args:
        max_abs_error: Largest absolute difference.
        psnr_db: Peak signal-to-noise ratio in dB, the peak being the reference's largest absolute value;
            `inf` if the outputs are equal, `-inf` if the output is not finite.
    """

    max_abs_error: float
    psnr_db: float


def compare(output: Array, reference: Array) -> Parity:
    """Compare an output with the reference of the same shape.

    Raises:
        ValueError: The shapes differ.
        NasError: The reference is not finite.
    """
    if output.shape != reference.shape:
        raise ValueError(f"output has shape {output.shape}, the reference {reference.shape}")
    if not np.isfinite(reference).all():
        raise NasError("torch's own output is not finite (NaN or infinity)", hint="the weights are broken or too large")
    if not np.isfinite(output).all():
        return Parity(math.inf, -math.inf)
    difference = output.astype(np.float64) - reference.astype(np.float64)
    mean_square = float(np.mean(difference**2))
    peak = float(np.abs(reference).max())
    psnr_db = math.inf if mean_square == 0 else 20 * math.log10(max(peak, 1e-12)) - 10 * math.log10(mean_square)
    return Parity(float(np.abs(difference).max()), psnr_db)
