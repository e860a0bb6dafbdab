"""Random numbers of clips, which do not depend on how a batch is split into processes and micro-batches.

Every clip has its own generators. Their seeds are derived from the run's seed, the clip's place in the sequence of all
clips that the run trains on, and the purpose of the numbers. So N processes train as one does with the same global
batch.

Numbers are drawn on the CPU, and are the same on every device. Shape suffixes: B clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from nas.files import derive_seed
from nas.processors import processors

WORTH_A_THREAD = 2**14
"""A clip with at least this many numbers is drawn on a thread of its own."""

_THREADS = ThreadPoolExecutor(max_workers=min(processors(), 16), thread_name_prefix="rng")


class BatchRNG:
    """Random number generators of a batch, one for each clip.

    Args:
        seeds: A seed for each clip.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal_like(self, clips: torch.Tensor) -> torch.Tensor:
        """Normal noise (B, ...) with the shape, type and device of a tensor that has a row for each clip."""
        if not self._generators:
            return torch.zeros_like(clips)
        shape = clips.shape[1:]
        draw = partial(_normal, shape)
        # Threads only for a graphics card, which would wait; a CPU is busy with the network.
        waiting = clips.device.type == "cuda" and shape.numel() >= WORTH_A_THREAD
        rows = _THREADS.map(draw, self._generators) if waiting else map(draw, self._generators)
        return torch.stack(list(rows)).to(clips)

    def normal(self) -> torch.Tensor:
        """A normal number for each clip (B,)."""
        return self.normal_like(torch.empty(len(self._generators)))

    def uniform(self) -> torch.Tensor:
        """A number in [0, 1) for each clip (B,)."""
        return self._joined([torch.rand(1, generator=generator) for generator in self._generators])

    def below(self, end: int) -> torch.Tensor:
        """A whole number from 0 to `end - 1` for each clip (B,), all equally likely."""
        return self._joined([torch.randint(end, (1,), generator=generator) for generator in self._generators]).long()

    @staticmethod
    def _joined(numbers: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(numbers) if numbers else torch.zeros(0)


def _normal(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class RNGKeys:
    """Keys from which the random numbers of some clips are derived.

    Args:
        seed: Seed of the run and the kind of clips.
        numbers: Place of each clip in the sequence of all clips that the run trains on.
    """

    seed: int
    numbers: tuple[int, ...]

    @classmethod
    def of_process(cls, seed: int, size: int, step: int, rank: int, world_size: int) -> RNGKeys:
        """Keys of the clips of one process in one micro-step: every `world_size`-th of the batch, from `rank` on.

        Args:
            seed: Seed of the run and the kind of clips.
            size: Clips of this process.
            step: Number of the micro-step.
            rank: Number of the process.
            world_size: Number of processes.
        """
        start = step * size * world_size
        return cls(seed, tuple(range(start + rank, start + size * world_size, world_size)))

    def rng(self, purpose: str) -> BatchRNG:
        """A new RNG for one purpose, independent of those for other purposes."""
        return BatchRNG([derive_seed(self.seed, purpose, number) for number in self.numbers])
