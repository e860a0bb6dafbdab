"""Adding the estimates of another search space to a table of estimates."""

from __future__ import annotations

import logging

from nas.errors import TableError
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.table import LatencyTable

logger = logging.getLogger("nas")

_OTHER_FILE = "choose another file for --table"


def check_updatable(table: LatencyTable, metadata: TableMetadata) -> None:
    """Check that estimates with some metadata may be added to a table.

    Raises:
        TableError: The table is of another device or other settings, or has latencies that are not estimated.
    """
    for kind in sorted({row.provenance for row in table.rows.values()} - {"estimated"}):
        raise TableError(f"has {kind} latencies, which estimates must not replace", where=table.where, hint=_OTHER_FILE)
    for name, (there, wanted) in table.metadata.differences(metadata).items():
        raise TableError(f"{name} is {there!r}, not {wanted!r}", where=table.where, hint=_OTHER_FILE)


def updated(table: LatencyTable, made: LatencyTable) -> LatencyTable:
    """A table of estimates with new ones: those of its other spaces stay.

    If they were made with another calibration, they cannot stay beside the new ones; a warning names their spaces.

    Args:
        table: The table that is there.
        made: Estimates of a space.

    Raises:
        TableError: As `check_updatable`.
    """
    check_updatable(table, made.metadata)
    others = tuple(name for name in table.metadata.spaces if name not in made.metadata.spaces)
    if not others:
        return made
    if table.metadata.estimate != made.metadata.estimate:
        what = "%s: the estimates of %s were made with another calibration and are dropped; estimate them again"
        logger.warning(what, table.where, ", ".join(others))
        return made
    kept = [row for key, row in table.rows.items() if key not in made.rows]
    complete = made.metadata.complete and table.metadata.complete
    return made.add(kept, spaces=(*others, *made.metadata.spaces), complete=complete)
