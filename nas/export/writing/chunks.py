"""Cutting the denoising network into two programs, for systems that refuse a large one.

Apple's own tool does it for Stable Diffusion: two chunks of less than 1 GB of weights each, for the Neural Engine of
iOS and iPadOS, unless weights are compressed to 6 bits or less (github.com/apple/ml-stable-diffusion, `--chunk-unet`).
"""

from __future__ import annotations

from itertools import accumulate

from nas.compression import weight_format
from nas.errors import ConfigError
from nas.formatting import bytes_text
from nas.models.memory import stored_bytes
from nas.models.network import Mounted
from nas.space import Plan
from nas.space.fragments import Cut, cuts

LIMIT_BYTES = 10**9
"""Weights that a program may hold at most."""

MOST_SHARE = 0.75
"""Share of all weights that a program may hold: the least would cross behind the first layer, which would be no cut."""


def best_cut(plan: Plan, network: Mounted, kind: str, limit_bytes: int = LIMIT_BYTES) -> Cut:
    """The cut across which the fewest bytes are passed, with neither program above the limits.

    Args:
        plan: Plan of the network.
        network: The network.
        kind: Kind of its weights in the file, see `nas.compression`.
        limit_bytes: Weights of a program at most.

    Raises:
        ConfigError: A program would be too large at every cut.
    """
    form = weight_format(kind)
    sizes = list(accumulate(stored_bytes(network.get_submodule(node.name), form) for node in plan.nodes))
    largest = [max(size, sizes[-1] - size) for size in sizes[:-1]]
    allowed = [size for size in largest if size <= min(limit_bytes, MOST_SHARE * sizes[-1])]
    # One layer may hold more than that share of a small network.
    bound = max(allowed, default=min(largest, default=float("inf")))
    if bound > limit_bytes:
        what = (
            f"no cut leaves programs of at most {bytes_text(limit_bytes)}: there are {bytes_text(sizes[-1])} of {kind}"
        )
        raise ConfigError(what, where="chunks", hint="compress the weights, or leave this format out")
    found = [
        (cut.crossing_bytes, size, place) for place, (cut, size) in enumerate(zip(cuts(plan), largest, strict=True))
    ]
    _, _, place = min(entry for entry in found if entry[1] <= bound)
    return cuts(plan)[place]
