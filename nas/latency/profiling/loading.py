"""Loading blocks as calls that can be timed, in groups that fit into memory together with a reference block."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from nas.errors import OutOfMemoryError, RuntimeUnavailableError
from nas.latency.measuring.rounds import Call
from nas.latency.profiling.conversions import Conversions
from nas.latency.tables.rows import LatencyRow
from nas.models import block_cost, example_inputs
from nas.runtimes import block_convertible, memory_guard, to_arrays
from nas.space import Block, SearchSpace

GROUP_BYTES = 4 * 2**30
"""Blocks are loaded together until they need this much memory; such blocks can be compared best."""

_BYTES_PER_WEIGHT = 4


@dataclass
class Group:
    """Blocks that are measured together.

    Args:
        reference: Name and call of the reference block.
        calls: The blocks that can be timed, by key.
        blocks: All blocks of the group, by key.
        memory_bytes: Memory that each of them needs, as the runtime reports it; `None` if it does not.
        package_bytes: Size of each of them on disk; `None` if the runtime has no files.
        refused: Why some blocks cannot be timed: `out_of_memory` or `over_memory_budget`.
        loaded_bytes: Memory that all calls need together.
    """

    reference: tuple[str, Call]
    calls: dict[str, Call] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)
    memory_bytes: dict[str, int | None] = field(default_factory=dict)
    package_bytes: dict[str, int | None] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    loaded_bytes: int = 0


def reference_block(space: SearchSpace) -> Block:
    """The block that shows drift: the first resnet of the network, whose work and length are typical."""
    blocks = space.lower(space.smallest()).blocks
    return next((block for block in blocks if block.kind == "resnet"), blocks[0])


def groups(
    blocks: Sequence[Block], reference: Block, conversions: Conversions, memory_budget_bytes: int | None
) -> Iterator[Group]:
    """Load blocks group by group; the calls of a group are released when the next group is requested.

    A block that does not fit beside the blocks before it starts a new group. If it does not fit there, it is refused.

    Raises:
        RuntimeUnavailableError: There is a memory budget, and the runtime reports no memory.
        OutOfMemoryError: Not even the reference block fits.
    """
    group = Group((reference.key, load_call(reference, conversions)[0]))
    for block in blocks:
        fits = _add(group, block, conversions, memory_budget_bytes)
        if not fits and group.calls:
            yield group
            group = _released(group)
            fits = _add(group, block, conversions, memory_budget_bytes)
        if not fits:
            _enter(group, block, None, conversions)
            group.refused[block.key] = "out_of_memory"
        if group.loaded_bytes > GROUP_BYTES:
            yield group
            group = _released(group)
    if group.blocks:
        yield group


def _released(group: Group) -> Group:
    """An empty group that replaces this one, whose calls are released even if the caller still holds it."""
    group.calls.clear()
    gc.collect()
    return Group(group.reference)


def load_call(block: Block, conversions: Conversions) -> tuple[Call, int | None]:
    """A block as a call on example inputs, called once, with the memory that the runtime says it needs.

    Raises:
        OutOfMemoryError: It does not fit.
    """
    with memory_guard():
        executable = conversions.load(block.key, partial(block_convertible, block))
        inputs = to_arrays(example_inputs(block))
        memory_bytes = executable.peak_memory_bytes(inputs)
        call = executable.bind(inputs)
        call()
    return call, memory_bytes


def too_large(group: Group) -> Iterable[LatencyRow]:
    """The rows of the blocks of a group that cannot be timed."""
    now = datetime.now(UTC).replace(microsecond=0)
    for key, status in group.refused.items():
        yield LatencyRow.model_validate(
            {
                "key": key,
                "kind": group.blocks[key].kind,
                "status": status,
                "memory_bytes": group.memory_bytes[key],
                "package_bytes": group.package_bytes[key],
                "provenance": "measured",
                "measured_at": now,
            }
        )


def _add(group: Group, block: Block, conversions: Conversions, memory_budget_bytes: int | None) -> bool:
    """Load a block into a group; returns whether it fits beside what is loaded there."""
    try:
        call, memory_bytes = load_call(block, conversions)
    except OutOfMemoryError:
        gc.collect()  # release what was loaded before the failure
        return False
    _enter(group, block, memory_bytes, conversions)
    if _over_budget(memory_bytes, memory_budget_bytes, conversions):
        group.refused[block.key] = "over_memory_budget"
    else:
        group.calls[block.key] = call
        group.loaded_bytes += memory_bytes or _BYTES_PER_WEIGHT * block_cost(block).parameters
    return True


def _enter(group: Group, block: Block, memory_bytes: int | None, conversions: Conversions) -> None:
    group.blocks[block.key] = block
    group.memory_bytes[block.key] = memory_bytes
    group.package_bytes[block.key] = conversions.package_bytes(block.key)


def _over_budget(memory_bytes: int | None, budget_bytes: int | None, conversions: Conversions) -> bool:
    if budget_bytes is None:
        return False
    if memory_bytes is None:
        raise RuntimeUnavailableError(
            f"runtime {conversions.runtime.name} does not report how much memory a block needs",
            hint="leave out the memory budget",
        )
    return memory_bytes > budget_bytes
