"""Profiling: every block once, across kills and among workers, on one machine and one runtime."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from nas.errors import RuntimeUnavailableError, StorageError, TableError
from nas.latency import (
    LatencyRow,
    LatencyTable,
    MeasurementSettings,
    TableMetadata,
    job_states,
    profile,
    space_blocks,
    usable_space,
)
from nas.latency.measuring.timing import timings
from nas.latency.prediction.conditions import table_runtime
from nas.latency.profiling.loading import reference_block
from nas.latency.profiling.networks import measure_plans
from nas.latency.tables.samples import SampleLog, samples_path
from nas.runtimes import get_runtime
from nas.runtimes.environment import cpu_model
from nas.space import SearchSpace
from nas.space.fragments import cells, chain
from tests.latency.conftest import QUICK, SMALL
from tests.latency.strategies import measured
from tests.processes import start
from tests.tiny import TINY

KILLS = int(os.environ.get("NAS_TEST_KILLS", "3"))


def log_of(path: Path) -> SampleLog:
    return SampleLog(samples_path(path), LatencyTable.load(path).metadata.identity_digest)


def test_every_block_of_every_architecture_is_measured(space: SearchSpace, ready: Path) -> None:
    table = LatencyTable.load(ready / "here.csv")
    used = {block.key for item in space.enumerate() for block in space.lower_pipeline(item).blocks}
    assert table.rows.keys() == used
    metadata = table.metadata
    assert metadata.complete
    assert (metadata.device, metadata.runtime, metadata.threads) == (cpu_model(), "torch", 1)
    assert metadata.spaces == ("tiny",)
    assert metadata.reference == reference_block(space).key
    assert metadata.measurement == QUICK.model_dump()
    assert metadata.began_at is not None
    assert metadata.ended_at is not None
    assert metadata.began_at <= metadata.ended_at
    for row in table.rows.values():
        assert (row.status, row.provenance) == ("ok", "measured")
        assert row.samples >= 3
        assert row.memory_bytes
    assert sorted(item.name for item in ready.iterdir()) == [
        "here.csv", "here.json", "here.samples.jsonl", "tiny.yaml"]  # fmt: skip


def test_rows_can_be_computed_again_from_the_raw_samples(tmp_path: Path) -> None:
    path, space = tmp_path / "table.csv", SearchSpace.from_dict(SMALL)
    measurement = MeasurementSettings(rounds=30, interval_percent=10, max_seconds=0.05, min_seconds=0)
    table = profile(space, get_runtime("torch"), path, measurement=measurement)
    windows = [record.window for record in log_of(path).read()]
    again = timings(table.rows, windows, measurement)
    for key, row in table.rows.items():
        found = again[key].summary
        assert (row.latency_ms, row.ci_low_ms, row.ci_high_ms) == (found.latency_ms, found.ci_low_ms, found.ci_high_ms)
        assert (row.median_ms, row.p90_ms, row.samples) == (found.median_ms, found.p90_ms, found.samples)
        assert (row.stopped, row.drift_percent) == (again[key].stopped, again[key].drift_percent)


def test_a_second_run_measures_nothing(space: SearchSpace, here: Path) -> None:
    before = {file.name: file.read_bytes() for file in here.iterdir()}
    profile(space, get_runtime("torch"), here / "here.csv", measurement=MeasurementSettings(rounds=99))
    assert {file.name: file.read_bytes() for file in here.iterdir()} == before


def test_missing_rows_are_added_and_the_others_kept(space: SearchSpace, here: Path) -> None:
    path = here / "here.csv"
    full = LatencyTable.load(path)
    gone = next(key for key, row in full.rows.items() if row.kind == "conv3d")
    kept = {key: row for key, row in full.rows.items() if key != gone}
    replace(full, rows=kept).save(path)
    samples_path(path).unlink()
    again = profile(space, get_runtime("torch"), path, measurement=QUICK.model_copy(update={"rounds": 4}))
    assert LatencyTable.load(path) == again
    assert again.rows.keys() == full.rows.keys()
    assert {key: row for key, row in again.rows.items() if key != gone} == kept
    assert again.rows[gone].samples >= 4


def measure(space_file: Path, path: Path, max_seconds: float) -> None:
    measurement = MeasurementSettings(rounds=3, interval_percent=0.0001, max_seconds=max_seconds, min_seconds=0)
    profile(SearchSpace.load(space_file), get_runtime("onnxruntime"), path, measurement=measurement)


def profiling(space_file: Path, path: Path, max_seconds: float) -> BaseProcess:
    """A profile in a process of its own; it takes some seconds, because no interval is narrow enough for it."""
    return start(space_file.parent, measure, space_file, path, max_seconds)


@pytest.mark.slow
def test_a_profile_killed_at_random_moments_ends_with_the_rows_of_an_undisturbed_one(
    small_file: Path, tmp_path: Path
) -> None:
    rng = random.Random(1)
    space, path = SearchSpace.load(small_file), tmp_path / "table.csv"
    undisturbed = {block.key for block in space_blocks(space)}
    sampled: dict[str, list[float]] = {}
    for _ in range(KILLS):
        process = profiling(small_file, path, max_seconds=0.3)
        # From the first conversions into the measuring; the later ones start further on, from what the first ones left.
        time.sleep(rng.uniform(0.3, 2))
        process.kill()
        process.join()
        if not path.is_file():
            continue
        partial = LatencyTable.load(path)
        assert partial.rows.keys() <= undisturbed
        before, sampled = sampled, {}
        for record in log_of(path).read():
            for key, samples in record.samples_ms.items():
                sampled.setdefault(key, []).extend(samples)
        assert all(sampled[key][: len(samples)] == samples for key, samples in before.items()), "samples were lost"
    finished = profile(space, get_runtime("onnxruntime"), path, measurement=QUICK)
    assert all((row.package_bytes or 0) > 100 for row in finished.rows.values())
    assert finished.metadata.complete
    assert finished.rows.keys() == undisturbed
    assert LatencyTable.load(path) == finished
    lines = path.read_text().splitlines()
    assert len(lines) == 1 + len(undisturbed)
    assert not path.with_suffix(".job").exists()


@pytest.mark.slow
def test_workers_share_one_profile(small_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    space = SearchSpace.load(small_file)
    workers = [profiling(small_file, path, max_seconds=0.05) for _ in range(3)]
    workers[1].kill()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, -signal.SIGKILL, 0]
    table = LatencyTable.load(path)
    assert table.metadata.complete
    assert table.rows.keys() == {block.key for block in space_blocks(space)}
    windows = [record.window for record in log_of(path).read()]
    sampled = {key: sum(len(each.samples_ms.get(key, ())) for each in windows) for key in table.rows}
    assert all(row.samples <= sampled[key] for key, row in table.rows.items()), "two have written at once"


def test_the_states_of_a_job_tell_how_far_it_is(space: SearchSpace, here: Path) -> None:
    path, runtime = here / "here.csv", get_runtime("torch")
    assert set(job_states(space, runtime, here / "new.csv").values()) == {"waiting"}
    full = LatencyTable.load(path)
    assert set(job_states(space, runtime, path).values()) == {"measured"}
    first, second, *_ = full.rows
    replace(full, rows={key: row for key, row in full.rows.items() if key not in (first, second)}).save(path)
    log_of(path).keep([first], log_of(path).read())
    states = {block.key: state for block, state in job_states(space, runtime, path).items()}
    assert (states.pop(first), states.pop(second)) == ("sampled", "waiting")
    assert set(states.values()) == {"measured"}


def test_a_block_over_the_memory_budget_is_recorded_and_not_timed(space: SearchSpace, here: Path) -> None:
    path, runtime = here / "here.csv", get_runtime("torch")
    free = LatencyTable.load(path)
    needs = sorted(row.memory_bytes or 0 for row in free.rows.values())
    budget = needs[len(needs) // 2]
    held = profile(space, runtime, path, measurement=QUICK, memory_budget_bytes=budget)
    over = {key for key, row in held.rows.items() if row.status == "over_memory_budget"}
    assert over == {key for key, row in free.rows.items() if (row.memory_bytes or 0) > budget}
    assert 0 < len(over) < len(held)
    assert all(held.rows[key].latency_ms is None for key in over)
    assert {key: row for key, row in held.rows.items() if key not in over} == {
        key: row for key, row in free.rows.items() if key not in over}  # fmt: skip
    again = profile(space, runtime, path, measurement=QUICK)
    assert all(row.status == "ok" for row in again.rows.values()), "without the budget they are measured after all"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing refuses memory there")
def test_a_block_that_does_not_fit_into_memory_is_recorded_and_left_out(tmp_path: Path) -> None:
    """3D attention over 131,072 places: two heads' weights take 137 GB."""
    large = SearchSpace.from_dict(
        TINY
        | {
            "video": {"frames": 32, "height": 128, "width": 128, "fps": 8},
            "codec": {"kind": "space_to_depth", "factor": 2},
            "slots": [{"stage": "down.0", "candidates": ["none", "self_attention_3d"]}],
        }
    )
    path, runtime = tmp_path / "table.csv", get_runtime("onnxruntime")
    full = TableMetadata(device=cpu_model(), runtime="onnxruntime", threads=1, opset="20")
    others = [
        measured(block.key, 1.0, datetime(2026, 1, 2, tzinfo=UTC), kind=block.kind)
        for block in space_blocks(large)
        if block.kind != "self_attention_3d"
    ]
    LatencyTable(full).add(others).save(path)
    table = profile(large, runtime, path, measurement=QUICK)
    (refused,) = (row for row in table.rows.values() if row.status != "ok")
    assert (refused.kind, refused.status, refused.latency_ms) == ("self_attention_3d", "out_of_memory", None)
    usable, (removed,) = usable_space(large, table)
    assert usable.count() == 1
    assert "down.0/0 cannot hold self_attention_3d" in str(removed)
    assert profile(large, runtime, path, measurement=QUICK) == table, "it is not tried again"


@pytest.mark.parametrize(
    ("options", "device", "message"),
    [
        ({"threads": 2}, None, r"here\.json: threads is 1, this run has 2; choose another file"),
        ({}, "another", r"here\.json: device is .*, this run has 'another'"),
    ],
)
def test_other_conditions_need_another_file(
    space: SearchSpace, here: Path, options: dict[str, int], device: str | None, message: str
) -> None:
    path = here / "here.csv"
    before = path.read_bytes()
    with pytest.raises(TableError, match=message):
        profile(space, get_runtime("torch", **options), path, device=device, measurement=QUICK)
    assert path.read_bytes() == before


def test_a_second_space_may_share_the_table(space: SearchSpace, here: Path) -> None:
    path = here / "here.csv"
    first = LatencyTable.load(path)
    wider = SearchSpace.from_dict(space.to_dict() | {"name": "wider", "slots": [
        {"stage": "mid", "candidates": ["none", "self_attention_3d"]}]})  # fmt: skip
    both = profile(wider, get_runtime("torch"), path, measurement=QUICK)
    assert both.metadata.spaces == ("tiny", "wider")
    added = both.rows.keys() - first.rows.keys()
    assert [both.rows[key].kind for key in added] == ["self_attention_3d"]


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML measures there")
def test_a_runtime_that_cannot_measure_here_says_so_and_writes_nothing(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailableError, match="coreml cannot measure here: Core ML executes on macOS only"):
        profile(space, get_runtime("coreml"), tmp_path / "table.csv", measurement=QUICK)
    assert [item.name for item in tmp_path.iterdir()] == ["tiny.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_found_before_measuring(space: SearchSpace, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match=r"table"):
        profile(space, get_runtime("torch"), folder / "table.csv", measurement=QUICK)


def test_a_table_path_through_a_file_is_one_clear_error(space: SearchSpace, space_file: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        profile(space, get_runtime("torch"), space_file / "deeper" / "table.csv", measurement=QUICK)


def test_networks_and_their_parts_are_measured_as_often_as_asked(space: SearchSpace, tmp_path: Path) -> None:
    architecture = space.architecture([slot.candidates[-1] for slot in space.slots])
    plan = space.lower(architecture)
    temporal = next(node.block for node in plan.nodes if node.block.kind == "cross_attention_1d")
    pipeline = space.lower_pipeline(architecture)
    plans = {
        "whole": plan,
        "text": pipeline.text_encoder,
        "decoder": pipeline.decoder,
        "chain": chain(temporal, 3),
        **{f"cell {number}": cell for number, cell in enumerate(cells(plan))},
    }
    found = measure_plans(plans, get_runtime("torch"), plan, measurement=QUICK, times=2, folder=tmp_path)
    first, second = found.measurements
    assert first["whole"].latency_ms / 3 < found.reference_ms < first["whole"].latency_ms * 3
    assert first.keys() == second.keys() == plans.keys()
    assert all(found.latency_ms > 0 for found in (*first.values(), *second.values()))
    assert first["whole"].latency_ms > max(first[name].latency_ms for name in plans if name.startswith("cell"))


def test_blocks_are_measured_in_onnx_runtime(tmp_path: Path) -> None:
    """Those without a row, and those whose row is an estimate; what was measured before stays as it is."""
    path, before, space = tmp_path / "table.csv", datetime(2026, 1, 2, tzinfo=UTC), SearchSpace.from_dict(SMALL)
    metadata = TableMetadata(device=cpu_model(), runtime="onnxruntime", threads=1, opset="21")
    rows = [measured(block.key, 1.0, before, kind=block.kind) for block in space_blocks(space)]
    estimates = [
        LatencyRow(key=row.key, kind=row.kind, latency_ms=1.0, provenance="estimated")
        for row in rows
        if row.kind == "conv1d"
    ]
    others = [row for row in rows if row.kind not in ("conv1d", "text_learned")]
    LatencyTable(metadata).add([*estimates, *others]).save(path)
    finished = profile(space, get_runtime("onnxruntime", opset=21), path, measurement=QUICK)
    assert {row.kind for row in finished.rows.values() if row.measured_at != before} == {"text_learned", "conv1d"}
    assert finished.provenance == "measured"
    assert table_runtime(finished).settings == get_runtime("onnxruntime", opset=21).settings
