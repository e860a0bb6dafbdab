"""Latency tables as cells and plain data; how the command line prints them is tested there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nas.formatting import bytes_text
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.report.latency_rows import conditions_text, interval_percent, table_cells, table_data, table_facts
from tests.latency.strategies import measured

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def estimated(key: str, latency_ms: float) -> LatencyRow:
    return LatencyRow(key=key, kind="conv", latency_ms=latency_ms, provenance="estimated")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1536, "1.5 KiB"), (2**20, "1 MiB"), (1000 * 2**20, "0.977 GiB")],
)
def test_bytes_are_printed_to_be_read(size_bytes: int, text: str) -> None:
    assert bytes_text(size_bytes) == text


def test_conditions_name_what_decides_latency() -> None:
    metadata = TableMetadata(device="a phone", runtime="coreml", precision="fp16", compute_unit="all")
    assert conditions_text(metadata) == "a phone, coreml, fp16, all"
    assert conditions_text(metadata.model_copy(update={"threads": 2})).endswith(", 2 threads")


def test_an_interval_is_half_its_width() -> None:
    assert interval_percent(measured("a", 2.0, NOON, ci_low_ms=1.9, ci_high_ms=2.2)) == pytest.approx(7.5)
    assert interval_percent(estimated("a", 2.0)) is None


def test_figures_that_were_not_measured_are_not_said_to_be() -> None:
    table = LatencyTable(TableMetadata(device="a phone", runtime="coreml")).add([estimated("a", 1.0)])
    facts = table_facts(table)
    assert facts["blocks"] == "1 block estimated"
    assert "latency" not in facts
    assert [row["stopped"] for row in table_cells(table)] == ["estimated"]
    both = table.add([measured("b", 3.0, NOON)])
    assert table_facts(both)["blocks"] == "2 blocks measured and estimated"
    assert table_facts(both)["latency"] == "25th percentile of the detrended calls"


def test_a_table_that_was_never_saved_has_no_samples_file(tmp_path: Path) -> None:
    table = LatencyTable(TableMetadata(device="a phone", runtime="coreml")).add([measured("a", 3.0, NOON)])
    assert table_data(table)["samples_file"] is None
    kept = table.save(tmp_path / "a.csv")
    assert table_data(kept)["samples_file"] is None
    (tmp_path / "a.samples.jsonl").write_text("")
    assert table_data(kept)["samples_file"] == str(tmp_path / "a.samples.jsonl")


def test_places_stand_where_they_are_known() -> None:
    placed = measured("a", 3.0, NOON, ops_on_neural_engine=0.75, ops_on_gpu=0.0, ops_on_cpu=0.25)
    failed = LatencyRow(key="b", kind="conv", status="failed", reason="too large", provenance="measured")
    table = LatencyTable(TableMetadata(device="a phone", runtime="coreml")).add([placed, failed])
    cells = table_cells(table)
    assert [row["runs on"] for row in cells] == ["NE 75% CPU 25%", None]
    assert cells[1]["stopped"] == "failed: too large"
    assert "memory" not in cells[0]
    assert "runs on" not in table_cells(table.add([measured("a", 3.0, NOON)]))[0]
