"""Merging latency tables that were measured on one device: on several days, or for several search spaces."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nas.errors import TableError
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.rows import LatencyRow
from nas.latency.tables.table import LatencyTable

logger = logging.getLogger("nas")

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Superseded:
    """A row that was replaced by a newer one of the same key.

    Args:
        key: The key.
        kept_ms: Latency of the row that is kept; `None` if that row is not `ok`.
        dropped_ms: Latency of the row that is dropped; `None` if that row is not `ok`.
        kept_at: When the kept row was measured, if it was.
        dropped_at: When the dropped row was measured, if it was.
        kept_from: File of the kept row; `None` for a table that was never saved.
        dropped_from: File of the dropped row.
    """

    key: str
    kept_ms: float | None
    dropped_ms: float | None
    kept_at: datetime | None
    dropped_at: datetime | None
    kept_from: Path | None
    dropped_from: Path | None


@dataclass(frozen=True)
class MergeResult:
    """The result of a merge.

    Args:
        table: All rows, not saved yet.
        superseded: The dropped rows, one entry for each table that had one.
    """

    table: LatencyTable
    superseded: tuple[Superseded, ...]


def merge_tables(tables: Iterable[LatencyTable]) -> MergeResult:
    """Merge tables of one device, runtime and settings.

    Of several rows of one key, the one measured last is kept. If they are equally old, the table that ended last wins,
    then the last argument. Metadata are taken from the table that ended last, with these exceptions: all spaces are
    listed, the table is complete if all are, it began with the first, processor share and load are the worst of all,
    and the memory budget is the smallest (every block that was left out for a budget exceeds it).

    Raises:
        TableError: There are no tables, two belong to different conditions, or two have rows of different
            provenance for one key; names the files and the field or key.
    """
    inputs = list(tables)
    if not inputs:
        raise TableError("no tables to merge", hint="name at least one")
    for table in inputs[1:]:
        _check_conditions(table, inputs[0])
    ordered = sorted(inputs, key=_ended_at)
    if any(table.metadata.versions != ordered[-1].metadata.versions for table in ordered):
        logger.warning("the tables were measured with different versions of the system or the libraries")
    keys = dict.fromkeys(key for table in ordered for key in table.rows)
    rows: dict[str, LatencyRow] = {}
    superseded: list[Superseded] = []
    for key in keys:
        candidates = [table for table in ordered if key in table.rows]
        kept = _newest(key, candidates)
        rows[key] = kept.rows[key]
        superseded += [_superseded(key, kept, table) for table in candidates if table.rows[key] != rows[key]]
    return MergeResult(LatencyTable(_merged(ordered), rows), tuple(superseded))


def _check_conditions(table: LatencyTable, first: LatencyTable) -> None:
    for name, (value, wanted) in table.metadata.differences(first.metadata).items():
        raise TableError(
            f"{name} is {value!r}, {_name(first)} has {wanted!r}",
            where=_name(table),
            hint="only tables of one device, runtime and settings can be merged; compare them instead",
        )


def _newest(key: str, candidates: Sequence[LatencyTable]) -> LatencyTable:
    """The table whose row of this key is kept."""
    newest = candidates[0]
    for table in candidates[1:]:
        if table.rows[key].provenance != newest.rows[key].provenance:
            raise TableError(
                f"row of {key} is {table.rows[key].provenance}, that in {_name(newest)} is "
                f"{newest.rows[key].provenance}",
                where=_name(table),
                hint="leave one of the tables out: figures of different provenance do not replace each other",
            )
        if _measured_at(table.rows[key]) >= _measured_at(newest.rows[key]):
            newest = table
    return newest


def _superseded(key: str, kept: LatencyTable, dropped: LatencyTable) -> Superseded:
    new, old = kept.rows[key], dropped.rows[key]
    return Superseded(key, new.latency_ms, old.latency_ms, new.measured_at, old.measured_at, kept.where, dropped.where)


def _merged(ordered: Sequence[LatencyTable]) -> TableMetadata:
    all_metadata = [table.metadata for table in ordered]
    shares = [metadata.processor_share for metadata in all_metadata if metadata.processor_share is not None]
    loads = [metadata.load_average for metadata in all_metadata if metadata.load_average is not None]
    budgets = [metadata.memory_budget_bytes for metadata in all_metadata if metadata.memory_budget_bytes is not None]
    begun = [metadata.began_at for metadata in all_metadata if metadata.began_at is not None]
    changes = {
        "spaces": tuple(dict.fromkeys(name for metadata in all_metadata for name in metadata.spaces)),
        "complete": all(metadata.complete for metadata in all_metadata),
        "processor_share": min(shares, default=None),
        "load_average": max(loads, default=None),
        "memory_budget_bytes": min(budgets, default=None),
        "began_at": min(begun, default=None),
    }
    return all_metadata[-1].model_copy(update=changes)


def _ended_at(table: LatencyTable) -> datetime:
    return table.metadata.ended_at or max(map(_measured_at, table.rows.values()), default=_LONG_AGO)


def _measured_at(row: LatencyRow) -> datetime:
    return row.measured_at or _LONG_AGO


def _name(table: LatencyTable) -> str:
    return str(table.where or "a table that was not saved")
