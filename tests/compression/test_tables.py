"""A latency table is for one kind of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nas.cli import main
from nas.compression import COMPRESSED_KINDS, weight_format
from nas.errors import ConfigError, TableError
from nas.latency import Estimator, LatencyRow, LatencyTable, TableMetadata, fill_gaps, get_phone, merge_tables
from nas.latency.estimating.constants import shipped_calibration
from nas.latency.estimating.estimator import weight_bits
from nas.latency.estimating.operations import Operation
from nas.latency.estimating.roofline import Workload
from nas.latency.prediction.conditions import table_runtime
from nas.latency.prediction.fastest_setting import setting_text
from nas.report.latency_rows import conditions_text
from nas.space import Block, SearchSpace, TensorSpec
from tests.tiny import TINY

PHONE = get_phone("iphone-15-pro")


def table(weights: str | None, latency_ms: float = 1.0) -> LatencyTable:
    options = {} if weights is None else {"weights": weights}
    metadata = TableMetadata(device="a phone", runtime="coreml", precision="fp16", compute_unit="all", opset="iOS18",
                             options=options)  # fmt: skip
    return LatencyTable(metadata).add([LatencyRow(key="a", kind="b", latency_ms=latency_ms, provenance="published")])


@pytest.mark.parametrize("kind", COMPRESSED_KINDS)
def test_a_table_keeps_its_kind_of_weights(kind: str, tmp_path: Path) -> None:
    read = LatencyTable.load(table(kind).save(tmp_path / "table.csv").where or "")
    assert read.metadata.settings.weights == kind
    assert table_runtime(read).settings == read.metadata.settings
    assert setting_text(read.metadata).endswith(f"weights={kind}")


def test_tables_of_earlier_versions_have_uncompressed_weights(tmp_path: Path) -> None:
    read = LatencyTable.load(table(None).save(tmp_path / "table.csv").where or "")
    assert "options" not in (tmp_path / "table.json").read_text(encoding="utf-8")
    assert read.metadata.settings.weights == "fp16"
    assert table_runtime(read).settings.options == {}


def test_tables_of_different_kinds_are_not_merged() -> None:
    with pytest.raises(TableError, match=r"options is .*palettized_6"):
        merge_tables([table("int8"), table("palettized_6")])
    with pytest.raises(TableError, match=r"options is .*palettized_6"):
        fill_gaps(table(None), table("palettized_6"))


def test_small_weights_are_read_in_fp16() -> None:
    small, large = (Operation("linear", "matmul", 1, values, (1,)) for values in (2048, 2049))
    form = weight_format("palettized_6")
    assert [weight_bits(operation, form) for operation in (small, large)] == [16, 6]
    assert weight_bits(large, weight_format("fp16")) == 16


def test_an_operation_that_waits_for_its_weights_gets_faster_by_their_bits() -> None:
    waits, computes = (Operation("linear", "matmul", macs, 10**7, (1,)) for macs in (1, 10**12))
    constants = shipped_calibration().constants
    (slow, busy), (fast, still_busy) = (
        [Workload([each], "cpu_and_ne", [bits]).block_ms(PHONE.chip, constants) for each in (waits, computes)]
        for bits in (16, 6)
    )
    assert fast / slow == pytest.approx(6 / 16)
    assert busy == still_busy


def test_an_estimate_of_fp32_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="weights: estimates are for arithmetic in fp16"):
        Estimator(PHONE, "all", weights="fp32")


def test_an_estimate_says_for_which_weights_it_is() -> None:
    estimator = Estimator(PHONE, "cpu_and_ne", weights="palettized_6")
    made = LatencyTable(estimator.metadata(SearchSpace.from_dict(TINY)))
    assert conditions_text(made.metadata).endswith("coreml, fp16, cpu_and_ne, weights=palettized_6")
    with pytest.raises(TableError, match="--compute-unit cpu_and_ne --weights palettized_6 --table"):
        made.row(block("another"))
    assert not Estimator(PHONE, "cpu_and_ne", weights="fp16").metadata(SearchSpace.from_dict(TINY)).options


@pytest.mark.parametrize("verb", [["latency", "estimate"], ["profile", "--runtime", "coreml", "--table", "t.csv"]])
def test_an_unknown_kind_ends_a_command_in_one_line(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    device = ["--device", "iphone-15-pro"] if "estimate" in verb else []
    monkeypatch.setattr("sys.argv", ["nas", *verb, "tiny.yaml", *device, "--weights", "int4"])
    with pytest.raises(SystemExit) as ended:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert "int4" in line
    assert "palettized_6" in line


def block(kind: str) -> Block:
    return Block(kind, (), (TensorSpec("x", (1, 4)),), (1, 4))
