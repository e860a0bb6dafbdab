"""Merging latency tables on disk, with the raw samples of each row."""

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
    """Merge tables into a new file; `merge_tables` says which rows are kept.

    The samples of a block are taken from the table whose row is kept. If several tables have the same row, the first
    one with samples of it is used. The merged tables are not changed.

    Args:
        paths: The tables' CSV files.
        out: The new table's CSV file; metadata and raw samples are written beside it.
        estimates: A table of estimates for blocks that none of the others has, see `fill_gaps`.

    Returns:
        The table, as it is stored in `out`, and the dropped rows.

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
        # Samples first: if the process is killed in between, there is no table yet, and the command can be repeated.
        SampleLog(samples_path(target), merged.table.metadata.identity_digest).keep(merged.table.rows, records)
    return replace(merged, table=merged.table.save(target))


def _kept(logs: _Logs, merged: LatencyTable) -> Iterator[SampleRecord]:
    """The windows of all logs, each with the samples of the blocks whose row is kept from its table."""
    sources = _sources(logs, merged)
    for index, (_, records) in enumerate(logs):
        for record in records:
            kept = record.only([key for key in record.samples_ms if sources.get(key) == index])
            if kept.samples_ms:
                yield kept


def _sources(logs: _Logs, merged: LatencyTable) -> Mapping[str, int]:
    """For each block with samples, the log that they are taken from."""
    sources: dict[str, int] = {}
    for index, (table, records) in enumerate(logs):
        for key in dict.fromkeys(key for record in records for key in record.samples_ms):
            if key in merged.rows and table.rows.get(key) == merged.rows[key]:
                sources.setdefault(key, index)
    return sources


def _log(table: LatencyTable) -> SampleLog:
    assert table.where is not None
    return SampleLog(samples_path(table.where), table.metadata.identity_digest)
