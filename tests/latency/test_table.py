"""The latency table on disk: what is written reads back, and nothing else reads at all."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import StorageError, TableError
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.latency import table as table_module
from nas.space import SearchSpace

text = st.text(st.characters(codec="utf-8"), min_size=1)
line = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
milliseconds = st.floats(1e-6, 1e9)


@st.composite
def rows(draw: st.DrawFn) -> LatencyRow:
    low, median, high = sorted(draw(st.tuples(milliseconds, milliseconds, milliseconds)))
    if not draw(st.booleans()):
        return LatencyRow(key=draw(line), kind=draw(line), latency_ms=low, provenance=draw(st.sampled_from(
            ["estimated", "published"])))  # fmt: skip
    return LatencyRow(
        key=draw(line), kind=draw(line), latency_ms=low, median_ms=median, p90_ms=high, provenance="measured",
        samples=draw(st.integers(1, 10**6)), measured_at=draw(st.datetimes(timezones=st.just(UTC))),
    )  # fmt: skip


metadata = st.builds(
    TableMetadata,
    device=text,
    runtime=text,
    threads=st.none() | st.integers(1, 64),
    opset=st.none() | text,
    cpu=text,
    versions=st.dictionaries(text, text, max_size=3),
    spaces=st.lists(text, max_size=3).map(tuple),
    complete=st.booleans(),
    processor_share=st.none() | st.floats(0, 2),
)


@given(metadata, st.lists(rows(), unique_by=lambda row: row.key))
def test_a_table_reads_back_equal(metadata: TableMetadata, rows: list[LatencyRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        saved = LatencyTable(metadata).add(rows).save(path)
        assert LatencyTable.load(path) == saved
        assert list(saved.rows.values()) == rows


@given(st.binary(max_size=400))
def test_no_file_content_escapes_as_anything_but_a_table_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        LatencyTable(TableMetadata(device="a", runtime="torch")).save(path)
        path.write_bytes(content)
        with pytest.raises(TableError, match=r"table\.csv"):
            LatencyTable.load(path)


GOOD = LatencyRow(
    key="conv()[x]", kind="conv", latency_ms=1.5, median_ms=2, p90_ms=3, samples=25, provenance="measured",
    measured_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A saved table of one row; its CSV's second line is `conv()[x],conv,1.5,2.0,3.0,25,measured,2026-...`."""
    path = tmp_path / "table.csv"
    LatencyTable(TableMetadata(device="a", runtime="torch", complete=True)).add([GOOD]).save(path)
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.5,", "-1.5,", r"line 2, column latency_ms: .*greater than 0, got '-1.5'"),
        ("1.5,", "0,", r"line 2, column latency_ms: .*greater than 0"),
        ("1.5,", "nan,", r"line 2, column latency_ms"),
        ("1.5,", "inf,", r"line 2, column latency_ms"),
        ("1.5,", "fast,", r"line 2, column latency_ms: .*number.*got 'fast'"),
        ("1.5,", ",", r"line 2, column latency_ms: empty"),
        ("2.0,", "1.0,", r"line 2: .*not in rising order"),
        ("25,measured", "0,measured", r"line 2: a measured row needs"),
        ("measured,2026", "guessed,2026", r"line 2, column provenance"),
        ("2026-01-01T00:00:00+00:00", "yesterday", r"line 2, column measured_at"),
        ("latency_ms", "ms", r"line 1: not a latency table: unknown column 'ms'"),
        ("kind,", "", r"line 1: not a latency table: column 'kind' is missing"),
        ("kind,latency_ms", "latency_ms,kind", r"line 1: .*another order"),
        (",25,", ",25,7,", r"line 2: 9 values instead of 8"),
        ("conv()[x],", '"conv()[x],', r"line 2: not CSV"),
    ],
)
def test_an_impossible_value_is_named_with_line_and_column(good: Path, old: str, new: str, message: str) -> None:
    content = good.read_text()
    assert old in content
    good.write_text(content.replace(old, new, 1))
    with pytest.raises(TableError, match=r"table\.csv: " + message):
        LatencyTable.load(good)


def test_a_key_that_stands_twice_is_refused(good: Path) -> None:
    header, row = good.read_text().splitlines()
    good.write_text("\n".join([header, row, row, ""]))
    with pytest.raises(TableError, match=r"line 3: key 'conv\(\)\[x\]' stands twice"):
        LatencyTable.load(good)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, r"table\.json: schema_version is 2, this version of nas reads 1"),
        ({"schema_version": None}, r"table\.json: schema_version is None"),
        ({"phone": "a"}, r"table\.json: unknown key phone"),
        ({"threads": "many"}, r"table\.json: threads: .*got 'many'"),
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


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_save_cut_short_leaves_no_row_under_foreign_metadata(
    good: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop after each of the writes of a save over a table of another device."""
    other = LatencyTable(TableMetadata(device="b", runtime="torch", complete=True)).add(
        [GOOD.model_copy(update={"latency_ms": 0.5})]
    )
    left = iter([True] * writes)

    def cut(name: str) -> None:
        real = getattr(table_module, name)

        def write(*arguments: object) -> None:
            if not next(left, False):
                raise KeyboardInterrupt
            real(*arguments)

        monkeypatch.setattr(table_module, name, write)

    cut("_write_metadata")
    cut("write_rows")
    with pytest.raises(KeyboardInterrupt):
        other.save(good)
    try:
        found = LatencyTable.load(good)
    except TableError:
        return
    assert (found.metadata.device, found.metadata.complete) == ("b", False)
    assert found.rows == other.rows


def test_a_first_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise StorageError("cannot write: No space left on device")

    monkeypatch.setattr(table_module, "write_rows", full)
    with pytest.raises(StorageError):
        LatencyTable(TableMetadata(device="a", runtime="torch")).save(tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())
