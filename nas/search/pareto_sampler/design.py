"""The initial design: architectures that are evaluated before the first prediction."""

from __future__ import annotations

from collections.abc import Hashable, Set
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nas.search.pareto_sampler.catalogue import Candidates, Code
from nas.search.pareto_sampler.domain import Codes


@dataclass(frozen=True)
class Design:
    """Fixed architectures, and parts of the other candidates, of which one member each is evaluated.

    The parts follow from the candidates alone, and any evaluated member fills its part. So several workers with
    different random numbers fill one design together.

    Args:
        candidates: All candidates.
        wanted: Places of the fixed architectures.
        parts: Places of the others, in equal parts of the range of latencies.
    """

    candidates: Candidates
    wanted: tuple[int, ...]
    parts: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, candidates: Candidates, anchors: Codes, uniform: Codes, count: int) -> Self:
        """A design of `count` architectures, or of half of the candidates if there are few.

        Args:
            candidates: All candidates.
            anchors: Taken first, if they are candidates; then the fastest and the slowest candidate.
            uniform: Taken next, at most half of the design.
            count: Size of the design.
        """
        order = np.argsort(candidates.latency_N, kind="stable")
        places = {tuple(row): place for place, row in enumerate(candidates.codes_ND.tolist())}
        first, then = ([places[tuple(row)] for row in rows.tolist() if tuple(row) in places]
                       for rows in (anchors, uniform))  # fmt: skip
        count = max(min(count, len(candidates) // 2), 1)
        ends = [int(order[0]), int(order[-1])]
        chosen = tuple(dict.fromkeys([*first, *ends, *then[: count // 2]]))[:count]
        others = order[~np.isin(order, chosen)]
        parts = np.array_split(others, count - len(chosen)) if len(chosen) < count else []
        return cls(candidates, chosen, tuple(parts))

    def __len__(self) -> int:
        return len(self.wanted) + len(self.parts)

    def following(self, seen: Set[Hashable], rng: np.random.Generator) -> Code | None:
        """The next architecture of the design; `None` if it is complete.

        Args:
            seen: Keys of architectures that were evaluated or are being evaluated.
            rng: Chooses within a part.
        """
        keys, codes = self.candidates.keys, self.candidates.codes_ND
        for part in [*(np.array([place]) for place in self.wanted), *self.parts]:
            if not any(keys[place] in seen for place in part):
                return tuple(codes[rng.choice(part)].tolist())
        return None
