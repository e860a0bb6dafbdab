"""Checks measure whole networks and say how near the predictions came."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_percentage_error

from nas.errors import ConfigError, TableError
from nas.latency import (
    CheckReport,
    LatencyFit,
    LatencyPredictor,
    LatencyRow,
    LatencyTable,
    MeasurementSettings,
    TableMetadata,
    check_networks,
    fresh_architectures,
    space_blocks,
)
from nas.latency.prediction.accuracy import Accuracy, accuracy
from nas.latency.prediction.checking import NetworkCheck
from nas.latency.prediction.conditions import table_runtime
from nas.latency.prediction.fit import FittedNetwork
from nas.runtimes import get_runtime
from nas.space import SearchSpace

QUICK = MeasurementSettings(rounds=3, max_seconds=0, min_seconds=0, interval_percent=100)


def fitted(space: SearchSpace, table: LatencyTable) -> LatencyFit:
    networks = [
        FittedNetwork(architecture=one.id, choices=one.choices, sum_ms=1.0, measured_ms=ratio)
        for one, ratio in zip(space.enumerate(), (0.9, 1.0, 1.3), strict=False)
    ]
    return LatencyFit.of(space, table, networks, 1.0)


@pytest.fixture
def fit(space: SearchSpace, table: LatencyTable) -> LatencyFit:
    return fitted(space, table)


def report_of(space: SearchSpace, *figures: tuple[float, float | None, float | None, tuple[float, ...]]) -> CheckReport:
    return CheckReport(tuple(NetworkCheck(space.smallest(), *each) for each in figures))


def test_accuracy_in_round_numbers() -> None:
    found = accuracy([105, 190, 330, 400], [100, 200, 300, 500])
    assert found == Accuracy(mape=pytest.approx(0.1), within_5_percent=0.5, within_10_percent=0.75, worst=0.2,
                             spearman=pytest.approx(1))  # fmt: skip


def test_accuracy_is_what_others_compute() -> None:
    rng = np.random.default_rng(0)
    measured = rng.uniform(1, 1000, 50)
    predicted = measured * rng.lognormal(0, 0.5, 50)
    found = accuracy(predicted, measured)
    assert found.mape == pytest.approx(mean_absolute_percentage_error(measured, predicted))
    assert found.spearman == pytest.approx(np.corrcoef(stats.rankdata(predicted), stats.rankdata(measured))[0, 1])
    assert found.within_10_percent == np.mean([abs(a - b) <= 0.1 * b for a, b in zip(predicted, measured, strict=True)])


@pytest.mark.parametrize(("predicted", "measured"), [([1, 2], [3, 3]), ([2, 2], [1, 3]), ([1], [1])])
def test_rank_correlation_without_ranks_is_not_defined(predicted: list[float], measured: list[float]) -> None:
    assert accuracy(predicted, measured).spearman is None


@pytest.mark.parametrize(("predicted", "measured"), [([], []), ([1], [1, 2])])
def test_what_has_no_counterpart_cannot_be_compared(predicted: list[float], measured: list[float]) -> None:
    with pytest.raises(ConfigError, match=f"cannot compare {len(predicted)} predictions with {len(measured)} meas"):
        accuracy(predicted, measured)


def test_a_report_tells_error_noise_and_coverage_apart(space: SearchSpace) -> None:
    report = report_of(
        space,
        (110.0, 100.0, 121.0, (99.0, 101.0)),  # 10% too high, inside
        (95.0, 90.0, 99.0, (102.0, 98.0)),  # 5% too low, outside
        (300.0, 290.0, 310.0, (200.0, 200.0)),  # 50% too high, outside
    )
    assert [check.measured_unet_ms for check in report.checks] == [100, 100, 200]
    assert [check.error for check in report.checks] == pytest.approx([0.1, -0.05, 0.5])
    assert report.accuracy.mape == pytest.approx(0.65 / 3)
    assert report.noise_floor == pytest.approx((2 / 101 + 4 / 98 + 0) / 3)
    assert report.coverage == pytest.approx(1 / 3)
    assert report.summary() == {
        "mape_percent": pytest.approx(65 / 3),
        "worst_percent": pytest.approx(50),
        "within_5_percent": pytest.approx(1 / 3),
        "within_10_percent": pytest.approx(2 / 3),
        "spearman": pytest.approx(np.corrcoef([2, 1, 3], [1.5, 1.5, 3])[0, 1]),
        "noise_floor_percent": pytest.approx(100 * (2 / 101 + 4 / 98) / 3),
        "coverage": pytest.approx(1 / 3),
        "slowdown": None,
    }


def test_what_was_not_looked_at_is_left_open(space: SearchSpace) -> None:
    report = report_of(space, (11.0, None, None, (10.0,)), (20.0, None, None, (20.0,)))
    assert (report.noise, report.noise_floor, report.coverage) == (None, None, None)
    row = json.loads(json.dumps(report.rows()))[0]
    assert row == {"architecture": space.smallest().id, "predicted_unet_ms": 11.0, "low_ms": None, "high_ms": None,
                   "measured_unet_ms": 10.0, "error_percent": pytest.approx(10), "measurements_ms": [10.0]}  # fmt: skip


def test_whole_networks_are_measured_and_compared(space: SearchSpace, table: LatencyTable) -> None:
    table = table.add([row.model_copy(update={"latency_ms": 1000.0}) for row in table.rows.values()])
    # With a reference that was this slow then, the share that it has in the slowdown is plain, busy machine or not.
    fit = fitted(space, table).model_copy(update={"reference_ms": 1e6})
    architectures = [*space.enumerate()][:3]
    report = check_networks(space, table, None, architectures, fit=fit, measurement=QUICK, times=2)
    predictor = LatencyPredictor(space, table, fit=fit)
    assert [check.architecture for check in report.checks] == architectures
    assert report.slowdown is not None
    smallest = report.checks[architectures.index(space.smallest())]
    # These are the networks of the fit; the reference, which is the smallest network, is the seventh ratio.
    now_over_then = [
        now_ms / then.measured_ms
        for check, then in zip(report.checks, fit.networks, strict=True)
        for now_ms in check.measurements_ms
    ]
    reference_ms = report.slowdown**7 / np.prod(now_over_then) * fit.reference_ms
    assert smallest.measured_unet_ms / 10 < reference_ms < smallest.measured_unet_ms * 10
    for check in report.checks:
        first, second = check.measurements_ms
        assert 0 < min(first, second) <= check.measured_unet_ms <= max(first, second)
        assert check.predicted_unet_ms == predictor.predict(check.architecture).unet_ms * report.slowdown
        assert (check.low_ms, check.high_ms) == fit.interval_ms(check.predicted_unet_ms)
    # Tiny networks take milliseconds, where the table says seconds.
    assert report.coverage == 0
    assert report.noise_floor is not None


def test_without_a_fit_the_sum_of_blocks_is_checked(space: SearchSpace, table: LatencyTable) -> None:
    architectures = [space.smallest(), space.smallest()]
    report = check_networks(space, table, table_runtime(table), architectures, measurement=QUICK)
    assert [check.architecture for check in report.checks] == architectures
    for check in report.checks:
        assert check.predicted_unet_ms == LatencyPredictor(space, table).predict(space.smallest()).unet_ms
        assert (check.low_ms, check.high_ms, len(check.measurements_ms)) == (None, None, 1)
    assert (report.coverage, report.noise_floor, report.accuracy.spearman) == (None, None, None)


def test_each_network_gets_its_own_measurement(space: SearchSpace) -> None:
    # Attention between all pixels of all frames takes several times as long as the rest of the network.
    changes = {
        "video": {"frames": 8, "height": 32, "width": 32, "fps": 8},
        "slots": [{"stage": "down.0", "candidates": ["none", "self_attention_3d"]}],
    }
    pair = SearchSpace.from_dict(space.to_dict() | changes)
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=1.0, provenance="estimated")
        for block in space_blocks(pair)
    ]
    table = LatencyTable(TableMetadata(device="a phone", runtime="torch", threads=1)).add(rows)
    longer, shorter = check_networks(pair, table, None, [*pair.enumerate()][::-1], measurement=QUICK).checks
    assert longer.architecture.choices == ("self_attention_3d",)
    assert shorter.measured_unet_ms < longer.measured_unet_ms


def test_a_table_of_another_machine_cannot_be_checked_here(space: SearchSpace, table: LatencyTable) -> None:
    elsewhere = table.add((), cpu="another processor")
    with pytest.raises(TableError, match=r"measured on a phone \(another processor\), this machine is .*nas profile"):
        check_networks(space, elsewhere, None, [space.smallest()], measurement=QUICK)
    with pytest.raises(TableError, match=r"threads=1.*threads=2"):
        check_networks(space, table, get_runtime("torch", threads=2), [space.smallest()], measurement=QUICK)


def test_a_stale_fit_is_found_before_measuring(space: SearchSpace, table: LatencyTable, fit: LatencyFit) -> None:
    row = next(iter(table.rows.values()))
    newer = table.add([row.model_copy(update={"latency_ms": 77.0})])
    with pytest.raises(TableError, match="made for other rows than the table in memory has now"):
        check_networks(space, newer, None, [space.smallest()], fit=fit, measurement=QUICK)


def test_fresh_architectures_are_none_that_the_fit_has_seen(space: SearchSpace, fit: LatencyFit) -> None:
    seen = {network.architecture for network in fit.networks}
    for count in (1, 10, 33):
        fresh = fresh_architectures(space, count, seed=5, exclude=seen)
        assert len(set(fresh)) == count
        assert not seen & {one.id for one in fresh}
    rest = set(space.enumerate()) - set(fresh_architectures(space, 33, seed=5, exclude=seen))
    assert {one.id for one in rest} == seen
    given_whole = [space.architecture(network.choices) for network in fit.networks]
    assert fresh_architectures(space, 10, 5, given_whole) == fresh_architectures(space, 10, 5, seen)


def test_fresh_architectures_are_at_most_what_the_space_has(space: SearchSpace) -> None:
    assert set(fresh_architectures(space, 1000, seed=0)) == set(space.enumerate())
    assert fresh_architectures(space, 5, seed=0, exclude=list(space.enumerate())) == ()


def test_fresh_architectures_depend_on_the_seed_alone(space: SearchSpace) -> None:
    draws = [fresh_architectures(space, 5, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_no_architectures_are_one_clear_error(space: SearchSpace, table: LatencyTable) -> None:
    with pytest.raises(ConfigError, match=r"tiny\.yaml: there are no architectures to check; a small space may have"):
        check_networks(space, table, None, [], measurement=QUICK)
