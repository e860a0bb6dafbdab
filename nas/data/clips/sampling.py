"""Which clips make up the batch of a training step, as a function of seed and step alone.

A resumed run asks for step k and gets the batch that an uninterrupted run would have had. A checkpoint therefore holds
no sampler state.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.files import derive_seed

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ReadingOrder:
    """The order in which the clips of a set are read; each epoch has a new one.

    The clips are stored in shards. An epoch shuffles the shards, takes `window` of them at a time, and shuffles the
    clips of these. Consecutive batches therefore read few files, and each epoch mixes other shards. A set with one
    shard is shuffled as a whole; sets with fast random access have one shard.

    Args:
        shards: How many clips each shard holds. The first shard holds the first clips of the set.
        window: Shards that are read at the same time.

    Raises:
        ValueError: A number is below 0, or `window` below 1.
    """

    shards: tuple[int, ...]
    window: int = 1

    def __post_init__(self) -> None:
        if self.window < 1 or any(count < 0 for count in self.shards):
            raise ValueError(f"window {self.window} must be at least 1, and clips of shards {self.shards} at least 0")

    def __len__(self) -> int:
        return sum(self.shards)

    def epoch(self, seed: int, number: int) -> Numbers:
        """All clips, in the order of an epoch."""
        return _epoch(self, seed, number)

    def batch(self, size: int, seed: int, step: int) -> list[int]:
        """The clips in the batch of one step.

        The steps read an endless sequence of epochs in order. A batch may span the end of an epoch. Within each epoch,
        every clip comes exactly once.

        Args:
            size: Clips per step; may exceed the size of the set.
            seed: The run's seed.
            step: The step, counted from 0.

        Raises:
            ValueError: The set is empty, `size` below 1, or `step` below 0.
        """
        length = len(self)
        if length < 1 or size < 1 or step < 0:
            raise ValueError(f"length {length}, batch_size {size} and step {step} must be at least 1, 1 and 0")
        first, end = step * size, (step + 1) * size
        chosen: list[int] = []
        for number in range(first // length, (end - 1) // length + 1):
            start = number * length
            chosen += self.epoch(seed, number)[max(first - start, 0) : end - start].tolist()
        return chosen

    def subset(self, indices: Sequence[int]) -> ReadingOrder:
        """The order of a subset of the clips, whose indices ascend.

        Raises:
            ValueError: There are several shards, and the clips do not ascend.
        """
        if len(self.shards) < 2:
            return ReadingOrder((len(indices),))
        chosen = np.asarray(indices, dtype=np.int64)
        if (np.diff(chosen) <= 0).any():
            raise ValueError("clips of several shards must be in the order of the shards")
        ends = np.searchsorted(chosen, np.cumsum(self.shards))
        return ReadingOrder(tuple(np.diff(ends, prepend=0).tolist()), self.window)


@dataclass(frozen=True)
class BucketSchedule:
    """Which of several sets (buckets of one size) each step reads: each as often as its share of the clips.

    Steps are grouped in rounds. A round reads every set about once, in a shuffled order.

    Args:
        lengths: How many clips each set has.
        batch_sizes: How many of them a step reads.
    """

    lengths: tuple[int, ...]
    batch_sizes: tuple[int, ...]

    @property
    def batches(self) -> tuple[int, ...]:
        """Steps of a round that read each set; a set that is not a whole number of batches is rounded."""
        pairs = zip(self.lengths, self.batch_sizes, strict=True)
        return tuple(max(round(length / size), 1) for length, size in pairs)

    def at(self, seed: int, step: int) -> tuple[int, int]:
        """The set that a step reads, and how many steps have read it before."""
        number, place = divmod(step, sum(self.batches))
        order = _round(self.batches, seed, number)
        chosen = int(order[place])
        return chosen, number * self.batches[chosen] + int((order[:place] == chosen).sum())


def batch_indices(length: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The clips in the batch of one step, of a set that is shuffled as a whole; see `ReadingOrder.batch`."""
    return ReadingOrder((max(length, 0),)).batch(batch_size, seed, step)


@functools.lru_cache(maxsize=8)
def _epoch(order: ReadingOrder, seed: int, number: int) -> Numbers:
    rng = np.random.default_rng(derive_seed(seed, "epoch", number))
    starts = np.cumsum((0, *order.shards))
    shards = rng.permutation(len(order.shards)) if len(order.shards) > 1 else np.arange(len(order.shards))
    parts: list[Numbers] = [np.zeros(0, dtype=np.int64)]
    for first in range(0, len(shards), order.window):
        chosen = shards[first : first + order.window]
        together = np.concatenate([np.arange(starts[shard], starts[shard + 1]) for shard in chosen])
        parts.append(together[rng.permutation(len(together))])
    return np.concatenate(parts)


@functools.lru_cache(maxsize=4)
def _round(batches: tuple[int, ...], seed: int, number: int) -> Numbers:
    order = np.repeat(np.arange(len(batches)), batches)
    return np.random.default_rng(derive_seed(seed, "round", number)).permutation(order)
