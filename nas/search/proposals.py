"""Architectures that a search proposes itself: at the start, and when the sampler repeats itself.

Shape suffixes: D devices, C candidates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nas.search.objective import Objective
from nas.search.protocols import Space
from nas.space import Architecture

ENUMERATED = 20_000
"""Spaces up to this size are enumerated before a search says that nothing is left."""

MUTATIONS = 400
"""Mutations of known architectures that are tried before random architectures."""

ATTEMPTS = 2_000
"""Random architectures that are tried in larger spaces before a search gives up."""

ROUNDS = 50
"""Updates of the weights of devices in a compromise between them."""


def anchors(objective: Objective) -> list[Architecture]:
    """Architectures that are worth scoring in any space.

    The smallest, the fastest on each device, the one closest to each budget and to those of all devices, and for each
    candidate the architecture that has it in every slot that offers it, and the choices of the smallest elsewhere.
    """
    space, smallest = objective.space, objective.space.smallest()
    candidates = dict.fromkeys(name for slot in space.slots for name in slot.candidates)
    uniform = (
        [name if name in slot.candidates else other for slot, other in zip(space.slots, smallest.choices, strict=True)]
        for name in candidates
    )
    models = [objective.latency] if objective.devices is None else objective.devices.models.values()
    known = [smallest, *(model.fastest() for model in models), *starts(objective)]
    return list(dict.fromkeys([*known, *map(space.architecture, uniform)]))


def starts(objective: Objective) -> list[Architecture]:
    """The architecture that comes closest to meeting each budget, and a compromise between the latency budgets."""
    closest = list(objective.least.values())
    several = objective.devices is not None and len(objective.devices.limits_ms) > 1
    return [*closest, compromise(objective)] if several else closest


def compromise(objective: Objective) -> Architecture:
    """An architecture whose largest share of a latency budget is small.

    The fastest architecture of each device may be too slow for the others, and in a large space one that meets all
    budgets is not found by chance. Latencies are taken as sums over slots. The weights of the devices are learnt
    (Arora, Hazan and Kale, "The multiplicative weights update method", 2012), and each slot takes the choice of least
    weighted latency.
    """
    space, base = objective.space, objective.space.smallest()
    base_D = _shares(objective, base)
    added = [
        np.array([_shares(objective, _with(space, base, index, name)) - base_D for name in slot.candidates])
        for index, slot in enumerate(space.slots)
    ]
    weight_D, best, least = np.ones(len(base_D)), base, float(base_D.max())
    for _ in range(ROUNDS):
        places = [int((added_CD @ weight_D).argmin()) for added_CD in added]
        share_D = base_D + sum(added_CD[place] for added_CD, place in zip(added, places, strict=True))
        if share_D.max() < least:
            choices = [slot.candidates[place] for slot, place in zip(space.slots, places, strict=True)]
            best, least = space.architecture(choices), float(share_D.max())
        weight_D *= np.exp(share_D / share_D.max())
        weight_D /= weight_D.sum()
    return best


def _with(space: Space, base: Architecture, index: int, name: str) -> Architecture:
    return space.architecture([*base.choices[:index], name, *base.choices[index + 1 :]])


def _shares(objective: Objective, architecture: Architecture) -> NDArray[np.float64]:
    """The share of each device's latency budget."""
    assert objective.devices is not None
    limits_ms = objective.devices.limits_ms
    latencies = objective.costs(architecture).devices
    return np.array([latencies[device].latency_ms / limit_ms for device, limit_ms in limits_ms.items()])


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
