"""The architectures to know before anything is guessed."""

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
    """Architectures that are evaluated in any case, and parts of the others of which one each is.

    The parts follow from the candidates alone, and any evaluated member fills its part, whoever chose it: several
    workers, each with random numbers of its own, fill one design together.

    Args:
        candidates: What there is.
        wanted: Places of those evaluated in any case.
        parts: Places of the others, in equal parts of the range of latencies.
    """

    candidates: Candidates
    wanted: tuple[int, ...]
    parts: tuple[NDArray[np.int64], ...]

    @classmethod
    def of(cls, candidates: Candidates, anchors: Codes, uniform: Codes, count: int) -> Self:
        """A design of `count` architectures, or of half of the candidates where these are few.

        Args:
            candidates: What there is.
            anchors: Taken first, as far as they are candidates; then the fastest and the slowest.
            uniform: Taken then, at most half of the design.
            count: How many in all.
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
        """What is missing of the design; `None` where nothing is.

        Args:
            seen: Keys of what was evaluated or is being evaluated.
            rng: Chooses within a part.
        """
        keys, codes = self.candidates.keys, self.candidates.codes_ND
        for part in [*(np.array([place]) for place in self.wanted), *self.parts]:
            if not any(keys[place] in seen for place in part):
                return tuple(codes[rng.choice(part)].tolist())
        return None
