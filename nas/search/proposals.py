"""Architectures that a search proposes itself: at the start, and when the sampler repeats itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from nas.search.objective import Objective
from nas.search.protocols import Space
from nas.space import Architecture

ENUMERATED = 20_000
"""Spaces up to this size are enumerated before a search says that nothing is left."""

MUTATIONS = 400
"""Mutations of known architectures that are tried before random architectures."""

ATTEMPTS = 2_000
"""Random architectures that are tried in larger spaces before a search gives up."""


def anchors(objective: Objective) -> list[Architecture]:
    """Architectures that are worth scoring in any space.

    The smallest, the fastest on each device, the one closest to each budget, and for each candidate the architecture
    that has it in every slot that offers it, and the choices of the smallest elsewhere.
    """
    space, smallest = objective.space, objective.space.smallest()
    candidates = dict.fromkeys(name for slot in space.slots for name in slot.candidates)
    uniform = (
        [name if name in slot.candidates else other for slot, other in zip(space.slots, smallest.choices, strict=True)]
        for name in candidates
    )
    models = [objective.latency] if objective.devices is None else objective.devices.models.values()
    known = [smallest, *(model.fastest() for model in models), *objective.least.values()]
    return list(dict.fromkeys([*known, *map(space.architecture, uniform)]))


def fresh(
    space: Space, wanted: Callable[[Architecture], bool], known: Sequence[Architecture], rng: random.Random
) -> Architecture | None:
    """An architecture that is not scored yet, if possible near known ones.

    Args:
        space: The search space.
        wanted: Whether an architecture is not scored yet and meets the budgets.
        known: Good or feasible architectures, which are mutated first.
        rng: Source of randomness.

    Returns:
        `None` if nothing is left; in a space too large to enumerate, if many attempts found nothing.
    """
    for architecture in _neighbours(space, known, rng):
        if wanted(architecture):
            return architecture
    if space.count() <= ENUMERATED:
        return next(filter(wanted, space.enumerate()), None)
    return next(filter(wanted, (space.sample(rng) for _ in range(ATTEMPTS))), None)


def _neighbours(space: Space, known: Sequence[Architecture], rng: random.Random) -> Iterator[Architecture]:
    """Known architectures and their mutations, in one slot at first and in more slots later."""
    yield from known
    for attempt in range(MUTATIONS if known else 0):
        yield space.mutate(rng.choice(known), rng, slots=1 + 4 * attempt // MUTATIONS)
