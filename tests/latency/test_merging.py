"""Merging and comparing tables: nothing is lost without being named."""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import TableError
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.latency.tables.comparing import RowDifference, compare_tables
from nas.latency.tables.merging import Superseded, merge_tables
from tests.latency.strategies import measured, rows

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
TUESDAY = MONDAY + timedelta(days=1)
METADATA = TableMetadata(device="a phone", runtime="torch", threads=1)


def table(*rows: LatencyRow, where: str | None = None, **fields: Any) -> LatencyTable:
    found = LatencyTable(METADATA, where=None if where is None else Path(where))
    return found.add(rows, **fields)


def out_of_memory(key: str, measured_at: datetime | None = None) -> LatencyRow:
    return LatencyRow(key=key, kind="conv", status="out_of_memory", provenance="measured", measured_at=measured_at)


def published(key: str, latency_ms: float) -> LatencyRow:
    return LatencyRow(key=key, kind="conv", latency_ms=latency_ms, provenance="published")


def test_rows_are_united_and_the_newer_of_two_stays() -> None:
    old = table(measured("a", 1.0, MONDAY), measured("b", 2.0, TUESDAY), where="old.csv")
    new = table(measured("a", 1.25, TUESDAY), measured("b", 2.5, MONDAY), measured("c", 3.0, MONDAY), where="new.csv")
    result = merge_tables([old, new])
    assert {key: row.latency_ms for key, row in result.table.rows.items()} == {"a": 1.25, "b": 2.0, "c": 3.0}
    assert result.superseded == (
        Superseded("a", 1.25, 1.0, TUESDAY, MONDAY, Path("new.csv"), Path("old.csv")),
        Superseded("b", 2.0, 2.5, TUESDAY, MONDAY, Path("old.csv"), Path("new.csv")),
    )


def test_a_newer_failure_replaces_a_latency_and_is_named() -> None:
    result = merge_tables([table(measured("a", 1.0, MONDAY)), table(out_of_memory("a", TUESDAY))])
    assert result.table.rows["a"].status == "out_of_memory"
    assert result.superseded == (Superseded("a", None, 1.0, TUESDAY, MONDAY, None, None),)


def test_of_rows_without_a_date_the_later_table_s_stays() -> None:
    early = table(published("a", 1.0), ended_at=MONDAY)
    late = table(published("a", 2.0), ended_at=TUESDAY)
    for order in ([early, late], [late, early]):
        assert merge_tables(order).table.rows["a"].latency_ms == 2.0
    assert merge_tables([table(published("a", 1.0)), table(published("a", 2.0))]).table.rows["a"].latency_ms == 2.0


def test_metadata_are_those_of_the_newest_with_the_worst_of_all() -> None:
    first = table(
        spaces=("one", "two"), complete=True, processor_share=0.8, load_average=0.5, began_at=MONDAY, ended_at=MONDAY,
        memory_budget_bytes=100, affinity=(0,), reference="a", measurement={"rounds": 5},
    )  # fmt: skip
    second = table(
        spaces=("two", "three"), complete=True, processor_share=0.9, load_average=2.5, began_at=TUESDAY,
        ended_at=TUESDAY, memory_budget_bytes=200, affinity=(1,), reference="b", measurement={"rounds": 9},
    )  # fmt: skip
    expected = {
        "spaces": ("one", "two", "three"), "complete": True, "processor_share": 0.8, "load_average": 2.5,
        "began_at": MONDAY, "memory_budget_bytes": 100,
    }  # fmt: skip
    for order in ([first, second], [second, first]):
        assert merge_tables(order).table.metadata == second.metadata.model_copy(update=expected)
    unknown = table(ended_at=TUESDAY)
    found = merge_tables([first, unknown]).table.metadata
    assert (found.processor_share, found.load_average, found.began_at) == (0.8, 0.5, MONDAY)
    assert not found.complete


def test_a_merged_table_is_saved_and_read_like_any_other(tmp_path: Path) -> None:
    paths = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for path, row in zip(paths, (measured("a", 1.0, MONDAY), measured("b", 2.0, TUESDAY)), strict=True):
        table(row, complete=True).save(path)
    merged = merge_tables(LatencyTable.load(path) for path in paths).table.save(tmp_path / "both.csv")
    assert LatencyTable.load(tmp_path / "both.csv") == merged
    assert (merged.metadata.rows, merged.metadata.complete, merged.rows.keys()) == (2, True, {"a", "b"})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("device", "a tablet", "device is 'a tablet', one.csv has 'a phone'"),
        ("runtime", "onnxruntime", "runtime is 'onnxruntime', one.csv has 'torch'"),
        ("precision", "fp16", "precision is 'fp16', one.csv has 'fp32'"),
        ("compute_unit", "gpu", "compute_unit is 'gpu', one.csv has 'cpu'"),
        ("threads", 2, "threads is 2, one.csv has 1"),
        ("opset", "17", "opset is '17', one.csv has None"),
        ("cpu", "Z80", "cpu is 'Z80', one.csv has "),
        ("statistic", "median", "statistic is 'median', one.csv has 'evened p25'"),
    ],
)
def test_tables_of_other_conditions_are_refused(field: str, value: object, said: str) -> None:
    tables = [table(where="one.csv"), table(where="same.csv"), table(where="two.csv", **{field: value})]
    with pytest.raises(TableError) as caught:
        merge_tables(tables)
    assert str(caught.value).startswith(f"two.csv: {said}")
    assert str(caught.value).endswith("compare them instead")


def test_provenances_do_not_mix_in_one_row() -> None:
    one = table(measured("a", 1.0, MONDAY), where="one.csv")
    two = table(published("a", 1.0), published("b", 2.0), where="two.csv")
    with pytest.raises(TableError, match=r"^one\.csv: row of a is measured, that in two\.csv is published; leave one"):
        merge_tables([one, two])
    two = table(published("b", 2.0), where="two.csv")
    assert merge_tables([one, two]).table.provenance == "published"


def test_no_tables_are_refused() -> None:
    with pytest.raises(TableError, match="no tables to merge"):
        merge_tables([])


def test_other_versions_of_libraries_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="nas"):
        merge_tables([table(), table()])
        assert not caplog.messages
        merge_tables([table(), table(versions={"torch": "0.1"})])
    assert caplog.messages == ["the tables were measured with different versions of the system or the libraries"]


@st.composite
def several(draw: st.DrawFn) -> list[LatencyTable]:
    """Tables of one device with common keys; no two different rows of one key are equally old."""
    found = []
    for number in range(draw(st.integers(1, 4))):
        drawn = draw(st.lists(rows(st.sampled_from("abcd")), unique_by=lambda row: row.key))
        kept = [row for row in drawn if row.provenance == "measured" and row.measured_at is not None]
        # Whole days apart from table to table, so that each key has one newest row.
        dated = [
            row.model_copy(update={"measured_at": MONDAY + timedelta(days=draw(st.integers(0, 9)) * 4 + number)})
            for row in kept
        ]
        metadata = {
            "ended_at": draw(st.none() | st.just(TUESDAY)),
            "spaces": draw(st.sampled_from([("x",), ("y", "x")])),
        }
        found.append(table(*dated, where=f"{number}.csv", complete=draw(st.booleans()), **metadata))
    return found + draw(st.lists(st.sampled_from(found), max_size=2))


@given(several())
def test_merging_again_changes_nothing(tables: list[LatencyTable]) -> None:
    once = merge_tables(tables)
    twice = merge_tables([once.table, *tables])
    assert twice.table.rows == once.table.rows
    assert {(each.key, each.dropped_ms) for each in twice.superseded} == {
        (each.key, each.dropped_ms) for each in once.superseded
    }
    alone = merge_tables([once.table, once.table])
    assert (alone.table, alone.superseded) == (once.table, ())


@given(several())
def test_the_order_of_tables_does_not_matter(tables: list[LatencyTable]) -> None:
    results = [merge_tables(order) for order in itertools.islice(itertools.permutations(tables), 24)]
    for result in results:
        assert result.table.rows == results[0].table.rows
        assert sorted(map(str, result.superseded)) == sorted(map(str, results[0].superseded))


@given(several())
def test_each_row_stays_or_is_reported(tables: list[LatencyTable]) -> None:
    result = merge_tables(tables)
    reported = list(result.superseded)
    assert result.table.rows.keys() == {key for each in tables for key in each.rows}
    for each in tables:
        for key, row in each.rows.items():
            stays = result.table.rows[key]
            assert stays.measured_at == max(other.rows[key].measured_at for other in tables if key in other.rows)
            if row == stays:
                continue
            entry = next(item for item in reported if (item.key, item.dropped_from) == (key, each.where))
            assert (entry.kept_ms, entry.dropped_ms) == (stays.latency_ms, row.latency_ms)
            assert (entry.kept_at, entry.dropped_at) == (stays.measured_at, row.measured_at)
            assert any(other.where == entry.kept_from and other.rows.get(key) == stays for other in tables)
            reported.remove(entry)
    assert not reported


def interval(key: str, low: float, latency_ms: float, high: float) -> LatencyRow:
    return measured(key, latency_ms, MONDAY, ci_low_ms=low, ci_high_ms=high)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (interval("a", 1, 2, 3), interval("a", 3.5, 4, 5), (2.0, 4.0, 2.0, False)),
        (interval("a", 3.5, 4, 5), interval("a", 1, 2, 3), (4.0, 2.0, 0.5, False)),
        (interval("a", 1, 2, 3), interval("a", 3, 4, 5), (2.0, 4.0, 2.0, True)),
        (interval("a", 1, 4, 9), interval("a", 3, 4, 5), (4.0, 4.0, 1.0, True)),
        (interval("a", 1, 2, 3), published("a", 3), (2.0, 3.0, 1.5, None)),
        (interval("a", 1, 2, 3), out_of_memory("a"), (2.0, None, None, None)),
        (out_of_memory("a"), interval("a", 1, 2, 3), (None, 2.0, None, None)),
    ],
)
def test_two_rows_side_by_side(
    first: LatencyRow, second: LatencyRow, expected: tuple[float | None, float | None, float | None, bool | None]
) -> None:
    assert compare_tables(table(first), table(second)) == (RowDifference("a", "conv", *expected),)


def test_tables_of_two_devices_are_compared_with_what_only_one_has() -> None:
    phone = table(published("b", 1.0), published("a", 2.0))
    tablet = table(published("c", 5.0), published("b", 0.5), device="a tablet", runtime="coreml")
    assert compare_tables(phone, tablet) == (
        RowDifference("b", "conv", 1.0, 0.5, 0.5, None),
        RowDifference("a", "conv", 2.0, None, None, None),
        RowDifference("c", "conv", None, 5.0, None, None),
    )
    assert compare_tables(LatencyTable(METADATA), LatencyTable(METADATA)) == ()
