"""Tables of mixed provenance: estimates in place of what was not measured, asked for and told apart row by row."""

from __future__ import annotations

from dataclasses import asdict, replace

from nas.errors import TableError
from nas.latency.tables.table import LatencyTable


def fill_gaps(measured: LatencyTable, estimates: LatencyTable) -> LatencyTable:
    """A table with the rows of both, where both have one that of the first.

    Each row keeps its provenance, and what is predicted from the table is no better than its weakest row. A block that
    the device refused stays refused.

    Args:
        measured: The table that is trusted; its metadata stay.
        estimates: The table of estimates for the same settings. That they are for the same kind of phone cannot be
            checked: one that was measured bears the name that its owner gave it.

    Raises:
        TableError: The settings differ, or there is no estimate in the second table.
    """
    wanted, found = asdict(measured.metadata.settings), asdict(estimates.metadata.settings)
    for name, value in found.items():
        if value != wanted[name]:
            what = f"{name} is {value!r}, {measured.where or 'the other table'} has {wanted[name]!r}"
            raise TableError(what, where=estimates.where, hint="estimate for the settings that were measured")
    if estimates.metadata.estimate is None:
        hint = "merge measured tables without it"
        raise TableError("holds no estimates to fill gaps with", where=estimates.where, hint=hint)
    metadata = measured.metadata
    rows = dict(estimates.rows) | dict(measured.rows)
    changes = {
        "spaces": tuple(dict.fromkeys((*metadata.spaces, *estimates.metadata.spaces))),
        "complete": estimates.metadata.complete and set(metadata.spaces) <= set(estimates.metadata.spaces),
        "estimate": estimates.metadata.estimate if len(rows) > len(measured) else metadata.estimate,
    }
    return replace(measured, rows=rows, metadata=metadata.model_copy(update=changes))
