"""What of a search space can run on a device: candidates whose blocks could not be measured there are left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nas.errors import TableError
from nas.latency.tables.table import LatencyTable
from nas.space import NONE, Block, SearchSpace


@dataclass(frozen=True)
class Removed:
    """A candidate that a slot loses on a device.

    Args:
        slot: Identifier of the slot.
        candidate: The candidate's name.
        key: Key of the block it would place there.
        reason: What the table says of that block, which it names by its key.
    """

    slot: str
    candidate: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.slot} cannot hold {self.candidate}: {self.reason}"


def usable_space(space: SearchSpace, table: LatencyTable) -> tuple[SearchSpace, tuple[Removed, ...]]:
    """The architectures of a space that can run where a table was measured.

    A block that is not in the table stays: whether it can run is not known, and `LatencyTable.row` says how to
    find out.

    Args:
        space: The search space.
        table: What is known of its blocks on the device.

    Returns:
        The space without the candidates whose block ran out of memory, was over the memory budget or failed, and
        those candidates in the order of the network. The space's fingerprint is that of the whole one.

    Raises:
        TableError: No architecture can run: a block that all have in common cannot, or no candidate of a slot can.
    """
    _check_common_blocks(space, table)
    removed = tuple(_removed(space, table))
    lost = {slot.id: [each for each in removed if each.slot == slot.id] for slot in space.slots}
    for slot in space.slots:
        if len(lost[slot.id]) == len(slot.candidates):
            hint = f"give {slot.id} another candidate, such as `{NONE}`, or profile where its blocks can run"
            raise _nothing_runs(space, table, "; ".join(map(str, lost[slot.id])), hint)
    return space.without({name: [each.candidate for each in gone] for name, gone in lost.items()}), removed


def _check_common_blocks(space: SearchSpace, table: LatencyTable) -> None:
    pipeline = space.lower_pipeline(space.smallest())
    nodes = (node for plan in (pipeline.text_encoder, pipeline.unet, pipeline.decoder) for node in plan.nodes)
    for node in nodes:
        reason = None if node.slot else _obstacle(node.block, table)
        if reason is not None:
            hint = "profile where it can run, or make the video or the network smaller"
            raise _nothing_runs(space, table, reason, hint)


def _removed(space: SearchSpace, table: LatencyTable) -> Iterator[Removed]:
    blocks = space.placed_blocks()
    for slot in space.slots:
        for candidate in slot.candidates:
            block = blocks.get((slot.id, candidate))
            reason = None if block is None else _obstacle(block, table)
            if block is not None and reason is not None:
                yield Removed(slot.id, candidate, block.key, reason)


def _obstacle(block: Block, table: LatencyTable) -> str | None:
    """Why a block in the table has no latency; `None` where it has one, or is not in the table."""
    if block not in table:
        return None
    try:
        table.row(block)
    except TableError as error:
        return error.what
    return None


def _nothing_runs(space: SearchSpace, table: LatencyTable, reason: str, hint: str) -> TableError:
    return TableError(f"no architecture of {space.name} can run: {reason}", where=table.where, hint=hint)
