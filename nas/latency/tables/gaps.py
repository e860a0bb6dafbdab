"""Tables of mixed provenance: measured rows, and on request estimates for the blocks that were not measured."""

from __future__ import annotations

from dataclasses import asdict, replace

from nas.errors import TableError
from nas.latency.tables.table import LatencyTable


def fill_gaps(measured: LatencyTable, estimates: LatencyTable) -> LatencyTable:
    """A table with the rows of both; if both have a row of a block, the measured one is used.

    Each row keeps its provenance. A prediction from the table is called measured only if all its rows are. A block that
    the device refused stays refused.

    Args:
        measured: The measured table; its metadata are kept.
        estimates: The table of estimates for the same settings. Whether they are for the same kind of phone cannot
            be checked, because a measured phone has the name that its owner gave it.

    Raises:
        TableError: The settings differ, or there is no estimate in the second table.
    """
    wanted, estimated = asdict(measured.metadata.settings), asdict(estimates.metadata.settings)
    for name, value in estimated.items():
        if value != wanted[name]:
            what = f"{name} is {value!r}, {measured.where or 'the other table'} has {wanted[name]!r}"
            raise TableError(what, where=estimates.where, hint="estimate for the settings that were measured")
    if estimates.metadata.estimate is None:
        hint = "merge measured tables without it"
        raise TableError("has no estimates to fill gaps with", where=estimates.where, hint=hint)
    metadata = measured.metadata
    rows = dict(estimates.rows) | dict(measured.rows)
    changes = {
        "spaces": tuple(dict.fromkeys((*metadata.spaces, *estimates.metadata.spaces))),
        "complete": estimates.metadata.complete and set(metadata.spaces) <= set(estimates.metadata.spaces),
        "estimate": estimates.metadata.estimate if len(rows) > len(measured) else metadata.estimate,
    }
    return replace(measured, rows=rows, metadata=metadata.model_copy(update=changes))
