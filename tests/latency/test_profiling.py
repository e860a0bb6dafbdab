"""Profiling: every block once, across interruptions, on one machine and one runtime."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.errors import RuntimeUnavailableError, StorageError, TableError
from nas.latency import LatencyTable, check_networks, measure, measure_plans, profile, space_blocks, table_runtime
from nas.runtimes import cpu_model, get_runtime
from nas.space import SearchSpace

QUICK = {"rounds": 3, "min_seconds": 0.0}


def test_every_block_of_every_architecture_is_measured(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = profile(space, get_runtime("torch"), path, group_size=5, **QUICK)
    used = {block.key for item in space.enumerate() for block in space.lower_pipeline(item).blocks}
    assert table.rows.keys() == used
    assert LatencyTable.load(path) == table
    assert table.metadata.complete
    assert (table.metadata.device, table.metadata.runtime, table.metadata.threads) == (cpu_model(), "torch", 1)
    assert table.metadata.spaces == ("tiny",)
    for row in table.rows.values():
        assert (row.provenance, row.samples) == ("measured", 3)
        assert row.measured_at is not None


def test_a_second_run_measures_nothing(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    profile(space, get_runtime("torch"), path, **QUICK)
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    profile(space, get_runtime("torch"), path, rounds=4, min_seconds=0.0)
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before


def test_missing_rows_are_added_and_the_others_kept(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    full = profile(space, get_runtime("torch"), path, **QUICK)
    gone = next(key for key, row in full.rows.items() if row.kind == "conv3d")
    kept = {key: row for key, row in full.rows.items() if key != gone}
    replace(full, rows=kept).save(path)
    again = profile(space, get_runtime("torch"), path, rounds=4, min_seconds=0.0)
    assert again.rows.keys() == full.rows.keys()
    assert {key: row for key, row in again.rows.items() if key != gone} == kept
    assert again.rows[gone].samples == 4


def test_a_killed_profile_goes_on_where_it_was(space_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    # Rounds go on for a second per block, so that the kill falls between the first group and the last.
    script = (
        "from nas.latency import profile; from nas.runtimes import get_runtime; from nas.space import SearchSpace\n"
        f"profile(SearchSpace.load({str(space_file)!r}), get_runtime('torch'), {str(path)!r}, group_size=2, rounds=3,"
        " min_seconds=1.0)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (path.is_file() and len(path.read_text().splitlines()) > 2):
            assert process.poll() is None, "the profile ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    space = SearchSpace.load(space_file)
    partial = LatencyTable.load(path)
    assert 0 < len(partial) < len(space_blocks(space))
    assert not partial.metadata.complete
    finished = profile(space, get_runtime("torch"), path, **QUICK)
    assert finished.metadata.complete
    assert len(finished) == len(space_blocks(space))
    assert {key: finished.rows[key] for key in partial.rows} == partial.rows


@pytest.mark.parametrize(
    ("options", "device", "message"),
    [
        ({"threads": 2}, None, r"table\.json: threads is 1, this run has 2; choose another file"),
        ({}, "another", r"table\.json: device is .*, this run has 'another'"),
    ],
)
def test_other_conditions_need_another_file(
    space: SearchSpace, tmp_path: Path, options: dict[str, int], device: str | None, message: str
) -> None:
    path = tmp_path / "table.csv"
    profile(space, get_runtime("torch"), path, **QUICK)
    before = path.read_bytes()
    with pytest.raises(TableError, match=message):
        profile(space, get_runtime("torch", **options), path, device=device, **QUICK)
    assert path.read_bytes() == before


def test_a_second_space_may_share_the_table(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    first = profile(space, get_runtime("torch"), path, **QUICK)
    wider = SearchSpace.from_dict(space.to_dict() | {"name": "wider", "slots": [
        {"stage": "mid", "candidates": ["none", "self_attention_3d"]}]})  # fmt: skip
    both = profile(wider, get_runtime("torch"), path, **QUICK)
    assert both.metadata.spaces == ("tiny", "wider")
    added = both.rows.keys() - first.rows.keys()
    assert [both.rows[key].kind for key in added] == ["self_attention_3d"]


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML measures there")
def test_a_runtime_that_cannot_measure_here_says_so_and_writes_nothing(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="coreml cannot measure here: Core ML executes on macOS only"):
        profile(space, get_runtime("coreml"), tmp_path / "table.csv", **QUICK)
    assert [item.name for item in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_found_before_measuring(space: SearchSpace, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match=r"table\.csv|table\.json"):
        profile(space, get_runtime("torch"), folder / "table.csv", **QUICK)


def test_a_table_path_through_a_file_is_one_clear_error(space: SearchSpace, space_file: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        profile(space, get_runtime("torch"), space_file / "deeper" / "table.csv", **QUICK)


def test_calls_are_timed_in_turn_and_summed_up_by_percentiles() -> None:
    order: list[str] = []
    found = measure([lambda: order.append("a"), lambda: order.append("b")], rounds=10, min_seconds=0)
    assert order == ["a", "b"] * 13, "three rounds of warm-up, then ten"
    assert [timing.samples for timing in found.timings] == [10, 10]


def test_latency_is_what_the_clock_says() -> None:
    short, long = measure([lambda: time.sleep(0.002), lambda: time.sleep(0.02)], rounds=10, min_seconds=0).timings
    assert 2 <= short.latency_ms <= short.median_ms <= short.p90_ms
    assert 20 <= long.latency_ms < 40
    assert short.latency_ms < long.latency_ms / 2


def test_rounds_go_on_for_the_time_given() -> None:
    started = time.perf_counter()
    found = measure([lambda: time.sleep(0.01)], rounds=2, min_seconds=0.3)
    assert time.perf_counter() - started >= 0.3
    assert found.timings[0].samples > 2


def test_work_done_shows_in_the_processor_share() -> None:
    busy = measure([lambda: np.sort(np.random.default_rng(0).random(20_000))], rounds=20, min_seconds=0)
    idle = measure([lambda: time.sleep(0.01)], rounds=20, min_seconds=0)
    assert idle.processor_share < 0.1 < busy.processor_share


def test_whole_networks_are_measured_and_compared(space: SearchSpace, tmp_path: Path) -> None:
    table = profile(space, get_runtime("torch"), tmp_path / "table.csv", **QUICK)
    architectures = list(space.enumerate())[:3]
    report = check_networks(space, table, None, architectures, **QUICK)
    assert [check.architecture for check in report.checks] == architectures
    for check in report.checks:
        assert check.measured_unet_ms > 0
        assert check.error == pytest.approx((check.predicted_unet_ms - check.measured_unet_ms) / check.measured_unet_ms)
    errors = [abs(check.error) for check in report.checks]
    assert report.mape == pytest.approx(sum(errors) / 3)
    assert report.worst == max(errors)
    assert report.within_10_percent == sum(error <= 0.1 for error in errors) / 3
    assert report.spearman is not None
    assert -1 <= report.spearman <= 1


def test_rank_correlation_of_one_network_is_not_defined(space: SearchSpace, tmp_path: Path) -> None:
    table = profile(space, get_runtime("torch"), tmp_path / "table.csv", **QUICK)
    assert check_networks(space, table, None, [space.smallest()], **QUICK).spearman is None


def test_a_table_of_another_machine_cannot_be_checked_here(space: SearchSpace, table: LatencyTable) -> None:
    elsewhere = table.add((), cpu="another processor")
    with pytest.raises(TableError, match=r"measured on a phone \(another processor\), this machine is"):
        check_networks(space, elsewhere, None, [space.smallest()], **QUICK)
    with pytest.raises(TableError, match=r"threads=1.*threads=2"):
        check_networks(space, table, get_runtime("torch", threads=2), [space.smallest()], **QUICK)


def test_text_encoder_and_decoder_can_be_measured_too(space: SearchSpace) -> None:
    pipeline = space.lower_pipeline(space.smallest())
    found = measure_plans([pipeline.text_encoder, pipeline.decoder], get_runtime("torch"), **QUICK)
    assert all(timing.latency_ms > 0 for timing in found.timings)


def test_blocks_are_measured_in_onnx_runtime(space: SearchSpace, table: LatencyTable, tmp_path: Path) -> None:
    path, gone = tmp_path / "table.csv", {"text_learned", "conv1d"}
    begun = table.add((), device=cpu_model(), runtime="onnxruntime", opset="21")
    replace(begun, rows={key: row for key, row in table.rows.items() if row.kind not in gone}).save(path)
    finished = profile(space, get_runtime("onnxruntime", opset=21), path, **QUICK)
    assert {row.kind for row in finished.rows.values() if row.provenance == "measured"} == gone
    assert finished.provenance == "estimated", "a table with estimates in it does not pass for a measured one"
    assert table_runtime(finished).settings == get_runtime("onnxruntime", opset=21).settings
