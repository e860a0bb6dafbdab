"""Architectures that a search proposes by itself: anchors, and fresh ones when a sampler runs dry."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from nas.search.objective import Objective
from nas.search.protocols import Space
from nas.space import Architecture

ENUMERATED = 20_000
"""Spaces up to this size are walked to the end before a search says that nothing is left."""

MUTATIONS = 400
"""Mutations of known architectures that are looked at before random ones are."""

ATTEMPTS = 2_000
"""Random architectures looked at in larger spaces before a search gives up."""


def anchors(objective: Objective) -> list[Architecture]:
    """Architectures worth knowing in any space.

    The smallest, the fastest, what comes closest to each budget, and each candidate wherever it is offered, in places
    where it is not the choice of the smallest.
    """
    space, smallest = objective.space, objective.space.smallest()
    candidates = dict.fromkeys(name for slot in space.slots for name in slot.candidates)
    uniform = (
        [name if name in slot.candidates else other for slot, other in zip(space.slots, smallest.choices, strict=True)]
        for name in candidates
    )
    known = [smallest, objective.latency.fastest(), *objective.least.values()]
    return list(dict.fromkeys([*known, *map(space.architecture, uniform)]))


def fresh(
    space: Space, wanted: Callable[[Architecture], bool], known: Sequence[Architecture], rng: random.Random
) -> Architecture | None:
    """An architecture that is still wanted, near known ones where there are any.

    Args:
        space: The space searched.
        wanted: Whether an architecture has not been scored and meets the budgets.
        known: Good architectures, or feasible ones, to mutate first.
        rng: Source of randomness.

    Returns:
        `None` when nothing is left, or in a space too large to walk, when a long look found nothing.
    """
    for architecture in _neighbours(space, known, rng):
        if wanted(architecture):
            return architecture
    if space.count() <= ENUMERATED:
        return next(filter(wanted, space.enumerate()), None)
    return next(filter(wanted, (space.sample(rng) for _ in range(ATTEMPTS))), None)


def _neighbours(space: Space, known: Sequence[Architecture], rng: random.Random) -> Iterator[Architecture]:
    """The known ones and mutations of them, of one slot at first and of more later on."""
    yield from known
    for attempt in range(MUTATIONS if known else 0):
        yield space.mutate(rng.choice(known), rng, slots=1 + 4 * attempt // MUTATIONS)
