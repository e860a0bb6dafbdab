"""Merging tables on disk: raw samples go with the rows they belong to, and nothing is overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nas.errors import TableError
from nas.latency import LatencyTable, TableMetadata, merge_files
from nas.latency.tables.samples import SampleLog, SampleRecord, samples_path
from tests.latency.strategies import measured

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
METADATA = TableMetadata(device="a phone", runtime="torch", threads=1, cpu="a processor", complete=True)

Samples = Mapping[str, Sequence[float]]


def write(path: Path, days: Mapping[str, int], samples: Sequence[Samples] = (), **metadata: str) -> Path:
    """A table whose rows were measured so many days after Monday, with one window of samples per mapping."""
    rows = [measured(key, 1.0 + day, MONDAY + timedelta(days=day)) for key, day in days.items()]
    table = LatencyTable(METADATA.model_copy(update=metadata)).add(rows).save(path)
    for number, window in enumerate(samples):
        log(path, table).append(
            SampleRecord(
                measured_at=MONDAY + timedelta(days=max(days.values()), minutes=number),
                conditions=table.metadata.identity_digest,
                reference="reference",
                reference_ms=(0.5, 0.6),
                samples_ms={key: tuple(values) for key, values in window.items()},
                order=(0, 0, *(1 + turn for turn, values in enumerate(window.values()) for _ in values)),
            )
        )
    return path


def log(path: Path, table: LatencyTable) -> SampleLog:
    return SampleLog(samples_path(path), table.metadata.identity_digest)


def samples_of(path: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for record in log(path, LatencyTable.load(path)).read():
        for key, values in record.samples_ms.items():
            found.setdefault(key, []).extend(values)
    return found


def test_each_block_keeps_the_samples_of_the_table_its_row_is_from(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", {"a": 0, "b": 0, "c": 3}, [{"a": [1, 2], "b": [3]}, {"b": [4], "c": [5]}])
    second = write(tmp_path / "b.csv", {"b": 2, "c": 2, "d": 2}, [{"b": [30], "c": [50]}, {"c": [51], "d": [60, 61]}])
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    merged = merge_files([first, second], tmp_path / "both.csv")

    assert samples_of(tmp_path / "both.csv") == {"a": [1, 2], "b": [30], "c": [5], "d": [60, 61]}
    assert LatencyTable.load(tmp_path / "both.csv").rows == merged.table.rows
    assert merged.table.where == tmp_path / "both.csv"
    assert {key: row.latency_ms for key, row in merged.table.rows.items()} == {"a": 1, "b": 3, "c": 4, "d": 3}
    assert {(each.key, each.dropped_from) for each in merged.superseded} == {("b", first), ("c", second)}
    records = log(tmp_path / "both.csv", merged.table).read()
    assert [each.measured_at for each in records] == sorted(each.measured_at for each in records)
    assert all(each.reference_ms == (0.5, 0.6) for each in records)
    assert {file: file.read_bytes() for file in before} == before


def test_of_equal_rows_the_one_with_samples_counts_and_counts_once(tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.csv", {"a": 0})
    full = write(tmp_path / "full.csv", {"a": 0}, [{"a": [1, 2]}])
    copy = write(tmp_path / "copy.csv", {"a": 0}, [{"a": [1, 2]}])

    assert merge_files([bare, full, copy], tmp_path / "all.csv").superseded == ()

    assert samples_of(tmp_path / "all.csv") == {"a": [1, 2]}


def test_tables_without_samples_merge_to_one_without(tmp_path: Path) -> None:
    tables = [write(tmp_path / "a.csv", {"a": 0}), write(tmp_path / "b.csv", {"b": 0})]
    merge_files(tables, tmp_path / "both.csv")
    assert sorted(file.name for file in tmp_path.glob("both*")) == ["both.csv", "both.json"]


def test_samples_of_a_superseded_row_do_not_stand_in_for_missing_ones(tmp_path: Path) -> None:
    old = write(tmp_path / "old.csv", {"a": 0, "b": 0}, [{"a": [1], "b": [2]}])
    merge_files([old, write(tmp_path / "new.csv", {"a": 1})], tmp_path / "both.csv")
    assert samples_of(tmp_path / "both.csv") == {"b": [2]}


def test_a_merge_that_was_killed_half_way_is_done_again(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", {"a": 0}, [{"a": [1]}])
    merge_files([table], tmp_path / "out.csv")
    (tmp_path / "out.csv").unlink()
    samples_path(tmp_path / "out.csv").write_text("what another attempt had written")

    merge_files([table], tmp_path / "out.csv")

    assert samples_of(tmp_path / "out.csv") == {"a": [1]}


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", {"a": 0}, [{"a": [1]}])
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(TableError, match=r"a\.csv: exists already"):
        merge_files([table, write(tmp_path / "b.csv", {"a": 1})], table)
    assert {file: file.read_bytes() for file in before} == before


def test_tables_that_do_not_belong_together_leave_nothing_behind(tmp_path: Path) -> None:
    here = write(tmp_path / "here.csv", {"a": 0}, [{"a": [1]}])
    there = write(tmp_path / "there.csv", {"b": 0}, [{"b": [1]}], device="a tablet")
    with pytest.raises(TableError, match="device is 'a tablet'"):
        merge_files([here, there], tmp_path / "out.csv")
    samples_path(here).write_text(samples_path(there).read_text())
    with pytest.raises(TableError, match=r"here\.samples\.jsonl: line 1"):
        merge_files([here], tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))
