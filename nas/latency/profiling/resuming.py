"""Resuming a table that an earlier run has begun."""

from __future__ import annotations

from pathlib import Path

from nas.errors import TableError
from nas.latency.tables.metadata import TableMetadata, metadata_path
from nas.latency.tables.table import LatencyTable


def table_to_resume(path: Path, wanted: TableMetadata) -> LatencyTable:
    """The table on disk, or a new one if there is no file.

    Raises:
        TableError: The table there was measured under other conditions, or is damaged.
    """
    if not path.is_file():
        return LatencyTable(wanted, where=path)
    table = LatencyTable.load(path)
    for name, (recorded, value) in table.metadata.differences(wanted).items():
        raise TableError(
            f"{name} is {recorded!r}, this run has {value!r}",
            where=metadata_path(path),
            hint="choose another file for --table",
        )
    return table
