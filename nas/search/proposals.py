"""Architectures that a search proposes by itself: anchors, and fresh ones when a sampler runs dry."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from nas.search.protocols import LatencyModel, Space
from nas.space import Architecture

ENUMERATED = 20_000
"""Spaces up to this size are walked to the end before a search says that nothing is left."""

ATTEMPTS = 2_000
"""Random architectures looked at in larger spaces before a search gives up."""


def anchors(space: Space, latency: LatencyModel) -> list[Architecture]:
    """Architectures worth knowing in any space: the smallest, the fastest, and the uniform ones."""
    candidates = dict.fromkeys(name for slot in space.slots for name in slot.candidates)
    uniform = (space.uniform(name) for name in candidates)
    return list(dict.fromkeys([space.smallest(), latency.fastest(), *(one for one in uniform if one is not None)]))


def probes(space: Space, extra: int = 16) -> list[Architecture]:
    """A fixed sample that together holds every candidate of every slot, to recognise a latency model by."""
    most = max((len(slot.candidates) for slot in space.slots), default=1)
    rows = [[slot.candidates[row % len(slot.candidates)] for slot in space.slots] for row in range(most)]
    rng = random.Random(0)
    sampled = (space.sample(rng) for _ in range(extra))
    return list(dict.fromkeys([*(space.architecture(row) for row in rows), *sampled]))


def fresh(
    space: Space, wanted: Callable[[Architecture], bool], front: Sequence[Architecture], rng: random.Random
) -> Architecture | None:
    """An architecture that is still wanted, near the front where there is one.

    Args:
        space: The space searched.
        wanted: Whether an architecture has not been scored and meets the budgets.
        front: Architectures to mutate first.
        rng: Source of randomness.

    Returns:
        `None` when nothing is left, or in a space too large to walk, when a long look found nothing.
    """
    for architecture in _neighbours(space, front, rng):
        if wanted(architecture):
            return architecture
    if space.count() <= ENUMERATED:
        return next(filter(wanted, space.enumerate()), None)
    return next(filter(wanted, (space.sample(rng) for _ in range(ATTEMPTS))), None)


def _neighbours(space: Space, front: Sequence[Architecture], rng: random.Random) -> Iterator[Architecture]:
    """Mutations of the front, of one slot at first and of more later on."""
    for attempt in range(100 if front else 0):
        yield space.mutate(rng.choice(front), rng, slots=1 + attempt // 25)
