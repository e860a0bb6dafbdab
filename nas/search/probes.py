"""A fixed sample of a space, by which a model of latency or of cost is recognised."""

from __future__ import annotations

import random

from nas.search.protocols import Space
from nas.space import Architecture
from nas.space.product import Product


def probes(space: Space, extra: int = 16) -> list[Architecture]:
    """A fixed sample of architectures that together hold every candidate of every slot."""
    covering = Product(slot.candidates for slot in space.slots).covering()
    rng = random.Random(0)
    sampled = (space.sample(rng) for _ in range(extra))
    return list(dict.fromkeys([*map(space.architecture, covering), *sampled]))
