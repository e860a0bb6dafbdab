from __future__ import annotations

from pathlib import Path

import pytest

from nas.latency import MeasurementSettings, dry_run_profile, profile, space_blocks
from nas.runtimes import get_runtime
from tests.space.spaces import tiny_space

QUICK = MeasurementSettings(rounds=2, max_seconds=0.01, min_seconds=0.02)


def test_a_plan_tells_what_a_profile_then_does(tmp_path: Path) -> None:
    space, runtime, table = tiny_space(), get_runtime("torch"), tmp_path / "table.csv"
    plan = dry_run_profile(space, runtime, table, measurement=QUICK)
    assert {each.block for each in plan.blocks} == set(space_blocks(space))
    assert (plan.done, plan.converting_s) == (0, 0)
    assert not table.exists()
    profile(space, runtime, table, measurement=QUICK)
    after = dry_run_profile(space, runtime, table, measurement=QUICK)
    assert (after.blocks, after.done) == ((), len(space_blocks(space)))
    assert (after.converting_s, after.measuring_s) == (0, (0, 0))


def test_a_plan_converts_the_reference_block_and_nothing_else(tmp_path: Path) -> None:
    plan = dry_run_profile(tiny_space(), get_runtime("onnxruntime"), tmp_path / "table.csv", measurement=QUICK)
    assert len(list(tmp_path.rglob("*.onnx"))) == 1
    assert plan.converting_s == plan.conversion_s * len(plan.blocks) > 0


def test_times_of_a_plan_grow_with_arithmetic_and_rounds(tmp_path: Path) -> None:
    space, runtime = tiny_space(), get_runtime("torch")
    plan = dry_run_profile(
        space,
        runtime,
        tmp_path / "table.csv",
        measurement=MeasurementSettings(rounds=1000, max_seconds=1, min_seconds=0),
    )
    by_macs = sorted(plan.blocks, key=lambda each: each.macs)
    assert [each.call_ms for each in by_macs] == sorted(each.call_ms for each in plan.blocks)
    least_s, most_s = plan.measuring_s
    assert least_s == pytest.approx(sum(each.call_ms + plan.reference_ms for each in plan.blocks))
    assert most_s >= least_s
