"""The part of a search space that is worth searching on a device.

Candidates whose blocks could not be measured there are left out. So are slower ones that compute the same as another:
no trained weight is needed to know which of two implementations of a layer is the better one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from nas.errors import TableError
from nas.formatting import cell_text
from nas.latency.tables.table import LatencyTable
from nas.space import NONE, Block, SearchSpace
from nas.space.implementations import same_function


@dataclass(frozen=True)
class Removed:
    """A candidate that a slot loses on a device.

    Args:
        slot: Identifier of the slot.
        candidate: The candidate's name.
        key: Key of the block it would place there.
        reason: What the table says of that block, which it names by its key; or what it says of the one that is
            faster.
        instead: The candidate that computes the same faster; `None` where the block cannot run.
        device: Of several devices, the one that is the reason; `None` if there is one device, or all are the reason.
    """

    slot: str
    candidate: str
    key: str
    reason: str
    instead: str | None = None
    device: str | None = None

    def __str__(self) -> str:
        verb = "cannot hold" if self.instead is None else "does without"
        place = "" if self.device is None else f" on {self.device}"
        return f"{self.slot} {verb} {self.candidate}{place}: {self.reason}"

    def to_dict(self) -> dict[str, str | None]:
        """Plain data; the device is left out if there is one."""
        values = asdict(self)
        return values if self.device is not None else {name: values[name] for name in values if name != "device"}


def usable_space(space: SearchSpace, table: LatencyTable) -> tuple[SearchSpace, tuple[Removed, ...]]:
    """The architectures of a space that can run where a table was measured, each in its fastest implementation.

    Of several candidates of a slot that compute the same, the fastest stays, the first of equally fast ones. A
    block that is not in the table stays: whether it can run, and how fast, is not known, and `LatencyTable.row` says
    how to find out.

    Args:
        space: The search space.
        table: What is known of its blocks on the device.

    Returns:
        The space without the candidates whose block ran out of memory, was over the memory budget or failed, or that
        compute the same as a faster one, and those candidates in the order of the network. The space's fingerprint
        is that of the whole one.

    Raises:
        TableError: No architecture can run: a block that all have in common cannot, or no candidate of a slot can.
    """
    _check_common_blocks(space, table)
    removed = tuple(_removed(space, table))
    lost = {slot.id: [candidate for candidate in removed if candidate.slot == slot.id] for slot in space.slots}
    for slot in space.slots:
        if len(lost[slot.id]) == len(slot.candidates):
            hint = f"give {slot.id} another candidate, such as `{NONE}`, or profile where its blocks can run"
            raise _nothing_runs(space, table, "; ".join(map(str, lost[slot.id])), hint)
    return space.without({name: [removal.candidate for removal in gone] for name, gone in lost.items()}), removed


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
        placed = {name: blocks[slot.id, name] for name in slot.candidates if name != NONE}
        latencies_ns = known_latencies_ns(placed, table)
        for name, block in placed.items():
            reason, fastest = _obstacle(block, table), _fastest_implementation(space, name, latencies_ns)
            if reason is not None:
                yield Removed(slot.id, name, block.key, reason)
            elif fastest != name:
                yield Removed(slot.id, name, block.key, slower_text(placed, name, fastest, table), fastest)


def known_latencies_ns(placed: Mapping[str, Block], table: LatencyTable) -> dict[str, int]:
    """Latencies of a slot's candidates, by name, without those that cannot run or are not in the table.

    Args:
        placed: The block of each candidate.
        table: The table.
    """
    known = {name: block for name, block in placed.items() if block in table and _obstacle(block, table) is None}
    return {name: table.latency_ns(block) for name, block in known.items()}


def slower_text(placed: Mapping[str, Block], name: str, faster: str, table: LatencyTable) -> str:
    """Why a candidate is not needed beside one that computes the same; arguments as of `known_latencies_ns`."""
    least, taken = (cell_text(table.latency_ms(placed[candidate])) for candidate in (faster, name))
    return f"{faster} computes the same in {least} ms, this takes {taken} ms"


def _fastest_implementation(space: SearchSpace, name: str, latencies_ns: Mapping[str, int]) -> str:
    """The fastest of the candidates that compute the same as `name`; itself if its latency is not known."""
    if name not in latencies_ns:
        return name
    same = [
        candidate for candidate in latencies_ns if same_function(space.candidates[candidate], space.candidates[name])
    ]
    return min(same, key=latencies_ns.__getitem__)


def _obstacle(block: Block, table: LatencyTable) -> str | None:
    """Why a block in the table has no latency; `None` if it has one, or is not in the table."""
    if block not in table:
        return None
    try:
        table.row(block)
    except TableError as error:
        return error.what
    return None


def _nothing_runs(space: SearchSpace, table: LatencyTable, reason: str, hint: str) -> TableError:
    return TableError(f"no architecture of {space.name} can run: {reason}", where=table.where, hint=hint)
