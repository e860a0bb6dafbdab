"""The candidates: all architectures of a small space, a changing part of a large one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.errors import BudgetError
from nas.search.pareto_sampler.catalogue import Candidates, Catalogue, Code
from nas.search.pareto_sampler.domain import Codes

ENUMERATED = 20_000
"""Spaces up to this size are enumerated."""

SIZE = 2_000
"""Candidates from a larger space."""

# Shares of a renewed pool; the rest is kept from the previous one.
_OF_THE_FRONT = 0.35
_OF_THE_BEST = 0.25
_AT_RANDOM = 0.15


class Pool:
    """The candidates, which are renewed in large spaces.

    Args:
        catalogue: Looks architectures up.
        rng: Source of randomness.
        anchors: Architectures that are always candidates.

    Raises:
        BudgetError: No architecture that was tried is feasible.
    """

    def __init__(self, catalogue: Catalogue, rng: np.random.Generator, anchors: Codes) -> None:
        self.catalogue, self.rng, self.anchors = catalogue, rng, anchors
        self.complete = catalogue.domain.count <= ENUMERATED
        codes = catalogue.domain.enumerate() if self.complete else self._first()
        self.candidates: Candidates = catalogue.candidates(codes)
        if not len(self.candidates):
            raise BudgetError("no architecture that was tried is feasible",
                              hint="loosen the constraints, or pass feasible architectures as anchors")  # fmt: skip

    def renew(self, front: list[Code], gain_N: NDArray[np.float64]) -> None:
        """Keep the most promising candidates, and add mutations of them and of the front, and random architectures.

        In a small space all architectures are candidates, and nothing changes.

        Args:
            front: The front so far.
            gain_N: Expected gain of each candidate.
        """
        if self.complete:
            return
        kept = self.candidates.codes_ND[np.argsort(-gain_N, kind="stable")[: SIZE // 4]]
        parents = np.concatenate([np.array(front, dtype=np.int16).reshape(-1, kept.shape[1]), self._ends()])
        codes = [
            kept,
            self.anchors,
            self._mutations(parents, int(_OF_THE_FRONT * SIZE)),
            self._mutations(kept[: SIZE // 20], int(_OF_THE_BEST * SIZE)),
            self.catalogue.domain.sample(self.rng, int(_AT_RANDOM * SIZE)),
        ]
        self.candidates = self.catalogue.candidates(np.concatenate(codes))

    def _first(self) -> Codes:
        domain = self.catalogue.domain
        drawn = domain.sample(self.rng, SIZE // 2)
        usable = self.catalogue.candidates(np.concatenate([self.anchors, domain.uniform(), drawn])).codes_ND
        ends = [self._climb(start, sign) for start in usable[:3] for sign in (1.0, -1.0)]
        known = np.concatenate([usable, np.array(ends, dtype=np.int16).reshape(-1, len(domain.names))])
        # If few random architectures are feasible, mutations of the feasible ones fill the pool.
        relatives = self._mutations(known, max(SIZE - len(known), 0)) if len(known) else known
        return np.concatenate([known, relatives])

    def _ends(self) -> Codes:
        latency_N = self.candidates.latency_N
        return self.candidates.codes_ND[[latency_N.argmin(), latency_N.argmax()]]

    def _climb(self, code_D: NDArray[np.int16], sign: float) -> NDArray[np.int16]:
        """The fastest architecture, or with a sign of -1 the slowest, found by changing one slot at a time."""
        best = code_D.copy()
        for slot, size in enumerate(self.catalogue.domain.sizes):
            trials = np.repeat(best[None], size, axis=0)
            trials[:, slot] = np.arange(size)
            usable = self.catalogue.candidates(trials)
            if len(usable):
                best = usable.codes_ND[np.argmin(sign * usable.latency_N)]
        return best

    def _mutations(self, parents: Codes, count: int) -> Codes:
        chosen = parents[self.rng.integers(len(parents), size=count)]
        return self.catalogue.domain.mutate(chosen, self.rng)
