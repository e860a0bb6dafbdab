"""Random numbers of clips, the same however a batch is shared among processes and micro-batches.

Every clip has generators of its own, seeded by the run's seed, the clip's place in the sequence of all clips that the
run trains on, and what the numbers are for. So what is drawn for a clip depends neither on the clips beside it nor
on the process that it is on, and N processes train as one does at the same global batch.

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
"""Numbers of a clip from which on the clips of a batch are drawn at the same time, each by a thread."""

_THREADS = ThreadPoolExecutor(max_workers=min(processors(), 16), thread_name_prefix="rng")


class BatchRNG:
    """Draws numbers for some clips, one method call after the other.

    Args:
        seeds: A seed for each clip.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def normal_like(self, clips: torch.Tensor) -> torch.Tensor:
        """Normal noise (B, ...) in the shape, type and place of some tensor with a row for each clip."""
        if not self._generators:
            return torch.zeros_like(clips)
        shape = clips.shape[1:]
        draw = partial(_normal, shape)
        # One after the other on a CPU, which has the network to compute besides; a graphics card would wait for them.
        waiting = clips.device.type == "cuda" and shape.numel() >= WORTH_A_THREAD
        rows = _THREADS.map(draw, self._generators) if waiting else map(draw, self._generators)
        return torch.stack(list(rows)).to(clips)

    def normal(self) -> torch.Tensor:
        """A normal number for each clip (B,)."""
        return self.normal_like(torch.empty(len(self._generators)))

    def uniform(self) -> torch.Tensor:
        """A number in [0, 1) for each clip (B,)."""
        return self._one_each([torch.rand(1, generator=each) for each in self._generators])

    def below(self, end: int) -> torch.Tensor:
        """A whole number from 0 to `end - 1` for each clip (B,), all equally likely."""
        return self._one_each([torch.randint(end, (1,), generator=each) for each in self._generators]).long()

    @staticmethod
    def _one_each(numbers: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(numbers) if numbers else torch.zeros(0)


def _normal(shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class RNGKeys:
    """Where the random numbers of some clips come from.

    Args:
        seed: Of the run and the kind of clips.
        numbers: Place of each clip in the sequence of all clips that the run trains on.
    """

    seed: int
    numbers: tuple[int, ...]

    @classmethod
    def of_process(cls, seed: int, size: int, step: int, rank: int, world_size: int) -> RNGKeys:
        """The clips of one process in one micro-step: every `world_size`-th of the global batch, from `rank` on.

        Args:
            seed: Of the run and the kind of clips.
            size: Clips of this process.
            step: Number of the micro-step.
            rank: Number of the process.
            world_size: Number of processes.
        """
        start = step * size * world_size
        return cls(seed, tuple(range(start + rank, start + size * world_size, world_size)))

    def rng(self, purpose: str) -> BatchRNG:
        """Numbers for one purpose, from their beginning; others have nothing to do with them."""
        return BatchRNG([derive_seed(self.seed, purpose, number) for number in self.numbers])
