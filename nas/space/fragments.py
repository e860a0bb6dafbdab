"""Plans made from parts of plans: latency can be measured in them, as in single blocks and whole networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nas.space.plan import BYTES_PER_VALUE, Block, Node, Plan, TensorSpec

_DOWN = "down_blocks."
_CONTINUES_CELL = frozenset({"spatial_transformer"})


def fragment(nodes: Sequence[Node]) -> Plan:
    """Some nodes of a plan, as a plan.

    Args:
        nodes: The nodes, in their order. What they read from elsewhere becomes an input, and the last one writes
            the output.
    """
    written = {node.name for node in nodes}
    inputs: dict[str, TensorSpec] = {}
    for node in nodes:
        for name, spec in zip(node.inputs, node.block.inputs, strict=True):
            if name not in written:
                inputs.setdefault(name, TensorSpec(name, spec.shape, spec.dtype))
    return Plan(tuple(inputs.values()), tuple(nodes), nodes[-1].name)


def cells(plan: Plan) -> tuple[Plan, ...]:
    """A plan cut into cells: a resnet with the attention and temporal layer after it; every other node alone."""
    parts: list[list[Node]] = []
    for node in plan.nodes:
        if parts and (node.slot is not None or node.block.kind in _CONTINUES_CELL):
            parts[-1].append(node)
        else:
            parts.append([node])
    return tuple(fragment(nodes) for nodes in parts)


def down_path(plan: Plan) -> tuple[Plan, tuple[str, ...]]:
    """The part of a UNet up to the end of its down path, and the name of each level's last value.

    All levels but the last end with their downsampling.
    """
    ends = {node.name.split(".")[1]: index for index, node in enumerate(plan.nodes) if node.name.startswith(_DOWN)}
    levels = tuple(plan.nodes[index].name for index in ends.values())
    return fragment(plan.nodes[: max(ends.values()) + 1]), levels


@dataclass(frozen=True)
class Cut:
    """A plan in two, which run one after the other.

    Args:
        before: The first nodes.
        after: The others; what they read of the first ones is among its inputs.
        crossing: The values that `before` writes and `after` reads.
    """

    before: Plan
    after: Plan
    crossing: tuple[TensorSpec, ...]

    @property
    def crossing_bytes(self) -> int:
        """Size of these values, at 4 bytes each."""
        return BYTES_PER_VALUE * sum(math.prod(spec.shape) for spec in self.crossing)


def cuts(plan: Plan) -> tuple[Cut, ...]:
    """All ways to cut a plan between two of its nodes, from the first node to the last."""
    return tuple(_cut(plan, place) for place in range(1, len(plan.nodes)))


def _cut(plan: Plan, place: int) -> Cut:
    before, after = fragment(plan.nodes[:place]), fragment(plan.nodes[place:])
    given = {spec.name for spec in plan.inputs}
    return Cut(before, after, tuple(spec for spec in after.inputs if spec.name not in given))


def chain(block: Block, copies: int) -> Plan:
    """A plan of copies of a block in a row: each has its own weights and reads what the copy before it wrote.

    Raises:
        ValueError: The block's output cannot be its own first input.
    """
    first, *others = block.inputs
    if first.shape != block.output_shape:
        raise ValueError(f"{block.key} does not keep the shape of {first.name}")
    names = [f"copy.{number}" for number in range(copies)]
    sources = [first.name, *names[:-1]]
    nodes = [
        Node(name, block, (source, *(spec.name for spec in others)))
        for name, source in zip(names, sources, strict=True)
    ]
    return Plan(block.inputs, tuple(nodes), names[-1])
