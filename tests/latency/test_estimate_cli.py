"""`nas latency estimate`, and what becomes of its tables in other verbs: nobody may take them for measured."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from matplotlib.text import Text

from nas.cli import main
from nas.errors import TableError
from nas.latency import LatencyPredictor, LatencyRow, LatencyTable, TableMetadata, fill_gaps, merge_tables, space_blocks
from nas.report.latency_heat_map import draw_latency_heat_map
from nas.space import SearchSpace
from tests.latency.conftest import TINY
from tests.latency.strategies import measured

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Nas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture
def estimated(nas: Nas, space_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "estimated.csv"
    code, _, err = nas("latency", "estimate", space_file, "--device", "iphone-16-pro-max", "--table", path)
    assert code == 0, err
    return path


def test_it_writes_a_table_and_says_what_it_rests_on(nas: Nas, space_file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("latency", "estimate", space_file, "--device", "iPhone 15 Pro", "--compute-unit", "all")
    code, out, _ = nas(*command)
    assert code == 0
    assert "iPhone 15 Pro, coreml, fp16, all" in out
    assert "estimated, none measured" in out
    assert "of them of the A17 Pro" in out
    assert (tmp_path / "latency_tables" / "tiny-iphone-15-pro-all.csv").is_file()
    found = json.loads(nas(*command, "--json")[1])
    assert found["estimate"]["extrapolated"] is False
    assert found["device"] == "iPhone 15 Pro"


def test_an_extrapolation_says_so_wherever_it_is_shown(nas: Nas, space_file: Path, estimated: Path) -> None:
    for verb in (("latency", "show", estimated), ("latency", "predict", space_file, "--table", estimated)):
        code, out, _ = nas(*verb)
        assert code == 0
        words = " ".join(out.replace("│", " ").split())
        assert "iPhone 16 Pro Max (extrapolated)" in words
        assert "estimated" in words
        assert "so extrapolated" in words
    found = json.loads(nas("latency", "predict", space_file, "--table", estimated, "--json")[1])
    assert found["device"] == "iPhone 16 Pro Max (extrapolated)"
    assert {each["blocks"] for each in found["architectures"]} == {"estimated"}


def test_a_prediction_has_the_interval_of_estimates_and_estimated_memory(
    nas: Nas, space_file: Path, estimated: Path
) -> None:
    interval = LatencyTable.load(estimated).metadata.estimate.interval
    found = json.loads(nas("latency", "predict", space_file, "--table", estimated, "--json")[1])
    for row in found["architectures"]:
        assert row["low_ms"] == pytest.approx(row["pipeline_ms"] / interval.factor, rel=1e-4)
        assert row["high_ms"] == pytest.approx(row["pipeline_ms"] * interval.factor, rel=1e-4)
        assert row["interval_percent"] == interval.coverage_percent == 80
        memory = row["memory_bytes"]
        assert memory["together"] == memory["text_encoder"] + memory["unet"] + memory["decoder"]
    words = " ".join(nas("latency", "predict", space_file, "--table", estimated)[1].split())
    assert "80% interval" in words
    assert "memory is estimated" in words
    shown = " ".join(nas("latency", "show", estimated)[1].replace("│", " ").split())
    assert f"{1 / interval.factor:.2f} to {interval.factor:.2f} times its estimate" in shown


def test_the_interval_is_of_the_estimated_share_alone(space: SearchSpace, estimated: Path) -> None:
    estimates = LatencyTable.load(estimated)
    both = fill_gaps(phone_table(space, {"conv1d", "resnet"}), estimates)
    factor = estimates.metadata.estimate.interval.factor
    pipeline = space.lower_pipeline(space.smallest())
    parts = ((pipeline.text_encoder, 1), (pipeline.unet, 4), (pipeline.decoder, 1))
    share_ms = sum(
        calls * both.latency_ms(node.block)
        for plan, calls in parts
        for node in plan.nodes
        if both.row(node.block).provenance == "estimated"
    )
    found = LatencyPredictor(space, both, 4).predict(space.smallest())
    assert 0 < share_ms < found.pipeline_ms
    assert found.high_ms - found.pipeline_ms == pytest.approx((factor - 1) * share_ms, rel=1e-3)
    assert found.pipeline_ms - found.low_ms == pytest.approx((1 - 1 / factor) * share_ms, rel=1e-3)


def test_tables_of_earlier_versions_have_no_interval(
    nas: Nas, space: SearchSpace, space_file: Path, estimated: Path
) -> None:
    file = estimated.with_suffix(".json")
    metadata = json.loads(file.read_text(encoding="utf-8"))
    del metadata["estimate"]["interval"]
    file.write_text(json.dumps(metadata), encoding="utf-8")
    found = LatencyPredictor.open(space, estimated).predict(space.smallest())
    assert (found.low_ms, found.high_ms, found.interval_percent) == (None, None, None)
    assert nas("latency", "predict", space_file, "--table", estimated)[0] == 0


def test_the_heat_map_says_so(space: SearchSpace, estimated: Path) -> None:
    figure = draw_latency_heat_map(space, LatencyTable.load(estimated))
    text = " ".join(" ".join(each.get_text() for each in figure.findobj(Text)).split())
    assert "Estimated latency" in text
    assert "iPhone 16 Pro Max (extrapolated)" in text


def test_networks_cannot_be_measured_against_it_here(nas: Nas, space_file: Path, estimated: Path) -> None:
    code, _, err = nas("latency", "check", space_file, "--table", estimated)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "its latencies are estimated: there are no measured networks to compare with" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "nokia-3310"), " more, see `nas devices`)"),
        (("--device", "iphone15pro"), "device 'iphone15pro' (did you mean iphone-15-pro? known: iphone-15-pro, "),
        (("--device", "iphone-12", "--compute-unit", "npu"), "no compute unit 'npu' (known: all, cpu_and_ne"),
    ],
)
def test_unknown_names_end_in_one_line(nas: Nas, space_file: Path, options: tuple[str, ...], said: str) -> None:
    code, _, err = nas("latency", "estimate", space_file, *options)
    assert (code, said in err, len(err.strip().splitlines())) == (2, True, 1)


def phone_table(space: SearchSpace, kinds: set[str], **changes: object) -> LatencyTable:
    """A measured table of some of the blocks."""
    conditions = {"runtime": "coreml", "precision": "fp16", "compute_unit": "cpu_and_ne", "opset": "iOS18"} | changes
    metadata = TableMetadata(device="my phone", spaces=(space.name,), call_overhead_ms=0.2, **conditions)
    blocks = [block for block in space_blocks(space) if block.kind in kinds]
    return LatencyTable(metadata).add(measured(block.key, 1.0, NOW, kind=block.kind) for block in blocks)


def test_measured_rows_are_never_replaced_by_estimates(nas: Nas, space: SearchSpace, estimated: Path, tmp_path) -> None:
    path = tmp_path / "measured.csv"
    phone_table(space, {"conv1d"}).save(path)
    before = path.read_bytes()
    code, _, err = nas("latency", "estimate", space.where, "--device", "iphone-12", "--table", path)
    assert code == 2
    assert "has measured latencies, which estimates must not replace" in err
    code, _, err = nas("latency", "merge", path, estimated, "--out", tmp_path / "both.csv")
    assert code == 2
    assert path.read_bytes() == before
    with pytest.raises(TableError):
        merge_tables([LatencyTable.load(path), LatencyTable.load(estimated)])


def test_gaps_are_filled_on_demand_and_stay_told_apart(nas: Nas, space: SearchSpace, estimated: Path, tmp_path) -> None:
    path, out = tmp_path / "measured.csv", tmp_path / "both.csv"
    phone = phone_table(space, {"conv1d", "resnet"}).save(path)
    code, _, err = nas("latency", "merge", path, "--fill-gaps", estimated, "--out", out)
    assert code == 0, err
    both, estimates = LatencyTable.load(out), LatencyTable.load(estimated)
    assert both.rows == dict(estimates.rows) | dict(phone.rows)
    assert {row.provenance for row in both.rows.values()} == {"measured", "estimated"}
    assert both.provenance == "estimated"
    assert both.metadata.call_overhead_ms == 0.2
    assert "measured and estimated" in nas("latency", "show", out)[1]


def test_a_table_with_a_single_measured_row_is_not_overwritten(
    nas: Nas, space: SearchSpace, estimated: Path, tmp_path: Path
) -> None:
    path = tmp_path / "both.csv"
    fill_gaps(phone_table(space, {"resnet"}), LatencyTable.load(estimated)).save(path)
    before = path.read_bytes()
    code, _, err = nas("latency", "estimate", space.where, "--device", "iphone-16-pro-max", "--table", path)
    assert code == 2
    assert "has measured latencies" in err
    assert path.read_bytes() == before


@pytest.mark.parametrize("order", [1, -1])
def test_estimates_among_published_latencies_are_called_estimated(
    space: SearchSpace, estimated: Path, tmp_path: Path, order: int
) -> None:
    """In any order of the rows, or a prediction would lose its interval and the chip it was estimated for."""
    estimates = LatencyTable.load(estimated)
    published = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=1.0, provenance="published")
        for block in space_blocks(space)
        if block.kind in {"resnet", "conv1d"}
    ]
    both = fill_gaps(replace(estimates, rows={row.key: row for row in published}), estimates)
    saved = replace(both, rows=dict(list(both.rows.items())[::order])).save(tmp_path / "both.csv")
    assert saved.provenance == "estimated"
    found = LatencyPredictor(space, LatencyTable.load(tmp_path / "both.csv"), 4).predict(space.smallest())
    assert (found.provenance, found.interval_percent) == ("estimated", 80)


def another_space(tmp_path: Path) -> Path:
    path = tmp_path / "another.yaml"
    slots = [{"stage": "mid", "candidates": ["none", "conv3d"]}]
    path.write_text(yaml.safe_dump(TINY | {"name": "another", "slots": slots}))
    return path


def test_the_estimates_of_two_spaces_share_a_table(nas: Nas, estimated: Path, tmp_path: Path) -> None:
    before = LatencyTable.load(estimated)
    path = another_space(tmp_path)
    code, out, err = nas("latency", "estimate", path, "--device", "iphone-16-pro-max", "--table", estimated)
    assert code == 0, err
    after, alone = LatencyTable.load(estimated), space_blocks(SearchSpace.load(path))
    assert f"{len(alone)} blocks estimated" in out
    assert after.metadata.spaces == ("tiny", "another")
    assert after.rows == {**before.rows, **{block.key: after.rows[block.key] for block in alone}}


def test_estimates_with_another_calibration_do_not_stay_beside_new_ones(
    nas: Nas, estimated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = LatencyTable.load(estimated)
    older = table.metadata.estimate.model_copy(update={"latencies": 7})
    table.add([], estimate=older).save(estimated)
    path = another_space(tmp_path)
    code, _, err = nas("latency", "estimate", path, "--device", "iphone-16-pro-max", "--table", estimated)
    assert code == 0, err
    assert "the estimates of tiny were made with another calibration and are dropped" in caplog.text + err
    assert LatencyTable.load(estimated).metadata.spaces == ("another",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--device", "iphone-13"), "device is 'iPhone 16 Pro Max', not 'iPhone 13'"),
        (("--device", "iphone-16-pro-max", "--compute-unit", "all"), "compute_unit is 'cpu_and_ne', not 'all'"),
        (("--device", "iphone-16-pro-max", "--weights", "int8"), "options"),
    ],
)
def test_a_table_of_other_estimates_is_not_replaced(
    nas: Nas, space_file: Path, estimated: Path, changes: tuple[str, ...], message: str
) -> None:
    before = estimated.read_bytes()
    code, _, err = nas("latency", "estimate", space_file, *changes, "--table", estimated)
    assert (code, message in " ".join(err.split())) == (2, True), err
    assert estimated.read_bytes() == before


def test_a_table_without_gaps_stays_measured(space: SearchSpace, estimated: Path, tmp_path: Path) -> None:
    whole = phone_table(space, {block.kind for block in space_blocks(space)})
    filled = fill_gaps(whole, LatencyTable.load(estimated)).save(tmp_path / "both.csv")
    assert filled.provenance == "measured"
    assert filled.metadata.estimate is None
    assert "extrapolated" not in filled.metadata.device_text


def test_a_missing_block_is_estimated_by_the_command_that_is_named(
    nas: Nas, space: SearchSpace, estimated: Path
) -> None:
    table = LatencyTable.load(estimated)
    lost = next(block for block in space_blocks(space) if block.kind == "conv1d")
    fewer = replace(table, rows={key: row for key, row in table.rows.items() if key != lost.key})
    with pytest.raises(TableError) as told:
        fewer.row(lost, space=space.where)
    command = (told.value.hint or "").removeprefix("estimate it with: nas ")
    assert nas(*shlex.split(command))[0] == 0
    assert LatencyTable.load(estimated).row(lost).provenance == "estimated"


def test_gaps_are_filled_for_the_same_settings_with_estimates_only(space: SearchSpace, estimated: Path) -> None:
    estimates = LatencyTable.load(estimated)
    with pytest.raises(TableError, match=r"opset is 'iOS18', .* has 'iOS17'"):
        fill_gaps(phone_table(space, {"conv1d"}, opset="iOS17"), estimates)
    with pytest.raises(TableError, match="has no estimates"):
        fill_gaps(phone_table(space, {"conv1d"}), phone_table(space, {"resnet"}))
