"""The blocks that a latency table of a search space needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import TableError

if TYPE_CHECKING:
    from nas.latency.tables.table import LatencyTable
    from nas.space import Block, SearchSpace


def space_blocks(space: SearchSpace) -> tuple[Block, ...]:
    """The distinct blocks of all architectures of a space, text encoder and decoder included."""
    variants = (space.lower_pipeline(architecture) for architecture in space.covering())
    return tuple(dict.fromkeys(block for variant in variants for block in variant.blocks))


def refuse_foreign_table(space: SearchSpace, table: LatencyTable) -> None:
    """Refuse a table that was made for other spaces and lacks most blocks of this one: it was named by mistake.

    A table that lacks single blocks passes; `LatencyTable.row` names them when they are asked for.

    Raises:
        TableError: The message names the spaces it was made for, and the command that makes a table of this one.
    """
    if space.name in table.metadata.spaces:
        return
    blocks = space_blocks(space)
    held = sum(block in table for block in blocks)
    if 2 * held < len(blocks):
        made_for = f", it was made for {', '.join(table.metadata.spaces)}" if table.metadata.spaces else ""
        what = f"holds {held or 'none'} of the {len(blocks)} blocks of {space.name}{made_for}"
        hint = f"name another table, or make one: {table.command(space.where, space.name)}"
        raise TableError(what, where=table.where, hint=hint)
