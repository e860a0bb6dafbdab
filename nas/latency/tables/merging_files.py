"""Merging latency tables on disk, each block's raw samples along with its row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas.errors import TableError
from nas.latency.tables.gaps import fill_gaps
from nas.latency.tables.merging import MergeResult, merge_tables
from nas.latency.tables.samples import SampleLog, SampleRecord, samples_path
from nas.latency.tables.table import LatencyTable

_Logs = Sequence[tuple[LatencyTable, Sequence[SampleRecord]]]


def merge_files(paths: Iterable[str | Path], out: str | Path, estimates: str | Path | None = None) -> MergeResult:
    """Merge tables into a new file; see `merge_tables` for which rows stay.

    The samples of a block come from beside the table that its row was kept from; of several tables that hold the
    very same row, from the first that has samples of it. The tables that are merged stay as they are.

    Args:
        paths: The tables' CSV files.
        out: The new table's CSV file; metadata and raw samples go beside it.
        estimates: A table of estimates for what none of the others has, see `fill_gaps`.

    Returns:
        The table, as it stands in `out`, and the rows that are not in it.

    Raises:
        TableError: `out` exists, a table is missing or damaged, or `merge_tables` or `fill_gaps` refuses them.
        StorageError: `out` cannot be written.
    """
    target = Path(out)
    if target.exists():
        hint = "choose a new file; a merge never overwrites what was measured"
        raise TableError("exists already", where=target, hint=hint)
    tables = [LatencyTable.load(path) for path in paths]
    merged = merge_tables(tables)
    if estimates is not None:
        merged = replace(merged, table=fill_gaps(merged.table, LatencyTable.load(estimates)))
    logs = [(table, _log(table).read()) for table in tables]
    records = sorted(_kept(logs, merged.table), key=lambda record: record.measured_at)
    if records:
        # Before the table: killed in between, there is no table yet, and the same command does it all again.
        SampleLog(samples_path(target), merged.table.metadata.identity_digest).keep(merged.table.rows, records)
    return replace(merged, table=merged.table.save(target))


def _kept(logs: _Logs, merged: LatencyTable) -> Iterator[SampleRecord]:
    """The windows of all logs, each with the samples of those blocks whose row was kept from its table."""
    sources = _sources(logs, merged)
    for index, (_, records) in enumerate(logs):
        for record in records:
            kept = record.only([key for key in record.samples_ms if sources.get(key) == index])
            if kept.samples_ms:
                yield kept


def _sources(logs: _Logs, merged: LatencyTable) -> Mapping[str, int]:
    """For each block with samples, which of the logs they are taken from."""
    sources: dict[str, int] = {}
    for index, (table, records) in enumerate(logs):
        for key in dict.fromkeys(key for record in records for key in record.samples_ms):
            if key in merged.rows and table.rows.get(key) == merged.rows[key]:
                sources.setdefault(key, index)
    return sources


def _log(table: LatencyTable) -> SampleLog:
    assert table.where is not None
    return SampleLog(samples_path(table.where), table.metadata.identity_digest)
