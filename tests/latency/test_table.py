"""The latency table on disk: what is written reads back, and nothing else reads at all."""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import StorageError, TableError
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.latency.tables import table as table_module
from nas.space import SearchSpace
from tests.latency.strategies import measured, metadata, rows


@given(metadata, st.lists(rows(), unique_by=lambda row: row.key))
def test_a_table_reads_back_equal(metadata: TableMetadata, rows: list[LatencyRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        saved = LatencyTable(metadata).add(rows).save(path)
        assert LatencyTable.load(path) == saved
        assert list(saved.rows.values()) == rows
        assert saved.metadata == metadata.model_copy(update={"rows": len(rows)})


@given(st.binary(max_size=400))
def test_no_file_content_escapes_as_anything_but_a_table_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        LatencyTable(TableMetadata(device="a", runtime="torch")).save(path)
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"table\.csv"):
            LatencyTable.load(path)


GOOD = measured("conv()[x]", 1.5, datetime(2026, 1, 1, tzinfo=UTC))
OTHER = measured("conv(width=2,depth=3)[x]", 2.5, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A saved table of one row."""
    path = tmp_path / "table.csv"
    LatencyTable(TableMetadata(device="a", runtime="torch", complete=True)).add([GOOD]).save(path)
    return path


def test_tables_of_earlier_versions_call_their_measurement_protocol(good: Path) -> None:
    file = good.with_suffix(".json")
    content = json.loads(file.read_text())
    assert content.pop("measurement") == {}
    file.write_text(json.dumps(content | {"protocol": {"rounds": 30}}))
    assert LatencyTable.load(good).metadata.measurement == {"rounds": 30}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, r"table\.json: schema_version is 1, this version of nas reads 3; profile again"),
        ({"schema_version": None}, r"table\.json: schema_version is None"),
        ({"phone": "a"}, r"table\.json: unknown key phone"),
        ({"threads": "many"}, r"table\.json: threads: .*got 'many'"),
        ({"load_average": float("nan")}, r"table\.json: not JSON: NaN is not a number in JSON"),
        ({"memory_budget_bytes": 0}, r"table\.json: memory_budget_bytes: expected more than 0; got 0"),
        ({"measurement": {"rounds": [30]}}, r"table\.json: measurement\.rounds: .*got \[30\]"),
        ({"began_at": "2026-01-01T00:00:00"}, r"table\.json: began_at: .*timezone"),
    ],
)
def test_foreign_metadata_are_refused(good: Path, change: dict[str, object], message: str) -> None:
    file = good.with_suffix(".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(TableError, match=message):
        LatencyTable.load(good)


@pytest.mark.parametrize("content", ["{", "[]", "3"])
def test_metadata_that_are_not_a_json_object_are_refused(good: Path, content: str) -> None:
    good.with_suffix(".json").write_text(content)
    with pytest.raises(TableError, match=r"table\.json"):
        LatencyTable.load(good)


def test_a_missing_half_is_named(good: Path) -> None:
    good.with_suffix(".json").unlink()
    with pytest.raises(TableError, match=r"table\.csv: table\.json is missing"):
        LatencyTable.load(good)
    good.unlink()
    with pytest.raises(TableError, match=r"no such latency table; measure one with: nas profile"):
        LatencyTable.load(good)


def test_a_table_of_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"ends in \.csv; use table\.csv"):
        LatencyTable.load(tmp_path / "table.json")


def test_a_missing_block_names_its_key_and_the_command(space: SearchSpace, table: LatencyTable, tmp_path: Path) -> None:
    block = space.lower(space.smallest()).blocks[0]
    poorer = LatencyTable(table.metadata, {key: row for key, row in table.rows.items() if key != block.key})
    saved = poorer.save(tmp_path / "table.csv")
    with pytest.raises(TableError) as caught:
        saved.latency_ms(block, space="my.yaml")
    assert block.key in str(caught.value)
    assert f"nas profile my.yaml --runtime torch --table {tmp_path / 'table.csv'}" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"status": "failed", "reason": "conv is not supported"},
            "could not be measured: conv is not supported; take it out of the search space",
        ),
        ({"status": "out_of_memory"}, "ran out of memory when it was measured; take it out of the search space"),
        (
            {"status": "over_memory_budget", "memory_bytes": 5000},
            "needs 5000 bytes, more than the memory budget of 4096; take it out of the search space",
        ),
    ],
)
def test_a_block_that_cannot_run_says_why(
    space: SearchSpace, table: LatencyTable, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    block = space.lower(space.smallest()).blocks[0]
    row = LatencyRow.model_validate({"key": block.key, "kind": block.kind, "provenance": "measured"} | fields)
    path = tmp_path / "table.csv"
    table.add([row], memory_budget_bytes=4096).save(path)
    saved = LatencyTable.load(path)
    assert block in saved
    assert saved.rows[block.key] == row
    assert not saved.rows[block.key].usable
    for look_up in (saved.row, saved.latency_ms, saved.latency_ns):
        with pytest.raises(TableError) as caught:
            look_up(block)
        assert str(caught.value).startswith(f"{path}: block {block.key} {message}")


def test_the_digest_stands_for_keys_latencies_and_identity() -> None:
    table = LatencyTable(TableMetadata(device="a", runtime="torch")).add([GOOD, OTHER])
    same = [
        LatencyTable(table.metadata).add([OTHER, GOOD]),
        table.add([GOOD.model_copy(update={"median_ms": 1.6, "memory_bytes": 5})], load_average=3.0, complete=True),
    ]
    other = [
        table.add([GOOD.model_copy(update={"latency_ms": 1.5000001})]),
        table.add([GOOD.model_copy(update={"key": "conv()[y]"})]),
        table.add([LatencyRow(key=GOOD.key, kind="conv", status="out_of_memory", provenance="measured")]),
        table.add((), device="b"),
        table.add((), threads=2),
        LatencyTable(table.metadata).add([GOOD]),
    ]
    assert {each.digest for each in same} == {table.digest}
    assert len({each.digest for each in (table, *other)}) == 7


def test_the_files_are_what_the_format_says(good: Path) -> None:
    """The checksum, worked out from the bytes of the two files as another program would."""
    header, row = good.read_text().splitlines()
    assert header == (
        "key,kind,status,latency_ms,ci_low_ms,ci_high_ms,median_ms,p90_ms,samples,stopped,drift_percent,"
        "memory_bytes,package_bytes,load_ms,ops_on_neural_engine,ops_on_gpu,ops_on_cpu,cost_on_neural_engine,"
        "cost_on_gpu,cost_on_cpu,psnr_db,max_abs_error,reason,provenance,measured_at,checksum"
    )
    *cells, checksum = next(csv.reader([row]))
    known = json.loads(good.with_suffix(".json").read_text())
    assert (known["schema_version"], known["rows"]) == (3, 1)
    names = ("device", "runtime", "precision", "compute_unit", "threads", "opset", "cpu", "statistic")
    identity = _sha256({name: known[name] for name in names})[:16]
    assert checksum == _sha256([identity, *cells])[:8]


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_times_of_another_zone_read_back_as_the_same_moment(good: Path) -> None:
    zone = timedelta(hours=5, minutes=30)
    row = measured("k", 1.0, datetime(2026, 1, 1, 5, 30, tzinfo=timezone(zone)))
    table = LatencyTable(TableMetadata(device="a", runtime="torch"))
    assert table.add([row]).save(good).rows == LatencyTable.load(good).rows
    assert LatencyTable.load(good).rows["k"].measured_at == datetime(2026, 1, 1, tzinfo=UTC)


class Cut:
    """Lets a number of a save's three writes happen, then stops it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        self.left = writes
        self.monkeypatch = monkeypatch
        for name in ("write_metadata", "write_rows"):
            self.wrap(name)

    def wrap(self, name: str) -> None:
        real = getattr(table_module, name)

        def write(*arguments: object) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            real(*arguments)

        self.monkeypatch.setattr(table_module, name, write)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_save_cut_short_leaves_no_row_under_foreign_metadata(
    good: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop after each of the writes of a save over a table of another device."""
    other = LatencyTable(TableMetadata(device="b", runtime="torch", complete=True)).add([OTHER])
    Cut(monkeypatch, writes)
    with pytest.raises(KeyboardInterrupt):
        other.save(good)
    try:
        found = LatencyTable.load(good)
    except TableError:
        assert writes < 2
        return
    assert (found.metadata.device, found.metadata.complete) == ("b", False)
    assert found.rows == other.rows


@pytest.mark.parametrize("writes", [0, 1, 2])
@pytest.mark.parametrize("more", [True, False])
def test_a_save_cut_short_over_its_own_table_leaves_a_table(
    good: Path, writes: int, more: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more rows than before and with fewer: it reads, and claims to be complete only where nothing happened."""
    old = LatencyTable.load(good)
    if not more:
        old = old.add([OTHER]).save(good)
    new = old.add([OTHER]) if more else LatencyTable(old.metadata).add([OTHER])
    Cut(monkeypatch, writes)
    with pytest.raises(KeyboardInterrupt):
        new.save(good)
    found = LatencyTable.load(good)
    assert found.rows == (new.rows if writes == 2 else old.rows)
    assert found.metadata.complete == (writes == 0)


def test_a_first_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise StorageError("cannot write: No space left on device")

    monkeypatch.setattr(table_module, "write_rows", full)
    with pytest.raises(StorageError):
        LatencyTable(TableMetadata(device="a", runtime="torch")).save(tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())
