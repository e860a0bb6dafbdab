"""Which clips make up the batch of a training step, as a function of seed and step alone.

A resumed run asks for step k and gets the batch that the uninterrupted run would have had; no sampler state
goes into a checkpoint.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from nas.files import derive_seed


def batch_indices(length: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The clips in the batch of one step.

    The steps in order read one endless sequence of epochs, each a shuffle of all clips of its own. A batch
    may therefore span the end of an epoch, and within each epoch every clip comes exactly once.

    Args:
        length: Clips in the set.
        batch_size: Clips per step; may exceed `length`.
        seed: The run's seed.
        step: The step, counted from 0.

    Raises:
        ValueError: `length` or `batch_size` is below 1, or `step` below 0.
    """
    if length < 1 or batch_size < 1 or step < 0:
        raise ValueError(f"length {length}, batch_size {batch_size} and step {step} must be at least 1, 1 and 0")
    first, end = step * batch_size, (step + 1) * batch_size
    chosen: list[int] = []
    for epoch in range(first // length, (end - 1) // length + 1):
        start = epoch * length
        order = _epoch_order(length, seed, epoch)
        chosen += order[max(first - start, 0) : end - start].tolist()
    return chosen


@functools.lru_cache(maxsize=8)
def _epoch_order(length: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(derive_seed(seed, "epoch", epoch)).permutation(length)
