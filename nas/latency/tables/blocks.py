"""The blocks that a latency table of a search space needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nas.space import Block, SearchSpace


def space_blocks(space: SearchSpace) -> tuple[Block, ...]:
    """The distinct blocks of all architectures of a space, text encoder and decoder included."""
    variants = (space.lower_pipeline(architecture) for architecture in space.covering())
    return tuple(dict.fromkeys(block for variant in variants for block in variant.blocks))
