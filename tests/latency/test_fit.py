"""A fit finds the factor between sums of blocks and whole networks, and says how far networks scatter about it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from nas.errors import ConfigError, RuntimeUnavailableError, TableError
from nas.latency import LatencyFit, LatencyPredictor, LatencyTable, MeasurementSettings, fit_networks
from nas.latency.prediction.fit import FittedNetwork, fit_path
from nas.latency.prediction.fitting import fit_architectures
from nas.latency.prediction.linear_fit import fit_line
from nas.runtimes import get_runtime
from nas.space import SearchSpace

QUICK = MeasurementSettings(rounds=3, max_seconds=0, min_seconds=0, interval_percent=100)

T_95_2 = 2.919986
"""Student's t: 95th percentile, two degrees of freedom, from a printed table."""


@pytest.fixture
def fit(space: SearchSpace, table: LatencyTable) -> LatencyFit:
    ratios = (0.9, 1.0, 1.3)
    networks = [
        FittedNetwork(architecture=one.id, choices=one.choices, sum_ms=2.0, measured_ms=2.0 * ratio)
        for one, ratio in zip(space.enumerate(), ratios, strict=False)
    ]
    return LatencyFit.of(space, table, networks, 1.0)


def test_a_factor_without_scatter_is_found_exactly() -> None:
    sums_ms = [1.0, 2.0, 4.0, 8.0, 16.0]
    found = fit_line(sums_ms, [1.3 * each for each in sums_ms])
    assert found == pytest.approx((1.3, 0.0, 0.0), rel=1e-12, abs=1e-9)


def test_an_offset_without_scatter_is_found_exactly() -> None:
    sums_ms = [10.0, 11.0, 12.0, 14.0, 16.0]
    found = fit_line(sums_ms, [1.1 * each - 2.5 for each in sums_ms])
    assert found == pytest.approx((1.1, -2.5, 0.0), rel=1e-9, abs=1e-9)


def test_an_offset_that_does_not_help_with_networks_left_out_is_not_taken() -> None:
    rng = np.random.default_rng(0)
    taken = []
    for _ in range(200):
        sums_ms = rng.uniform(10, 11, 10)
        taken.append(fit_line(sums_ms, 1.2 * sums_ms * np.exp(0.02 * rng.standard_normal(10))).offset_ms != 0)
    assert np.mean(taken) < 0.4


def test_a_line_that_falls_or_ends_below_zero_is_never_taken() -> None:
    falling = fit_line([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0])
    assert falling.scale > 0
    assert falling.offset_ms == 0
    below = fit_line([10.0, 11.0, 12.0, 14.0, 16.0], [2.0 * each - 18 for each in (10, 11, 12, 14, 16)])
    assert below.offset_ms == 0, "an architecture of half the sum would take less than no time"


def test_three_networks_give_the_closed_form() -> None:
    scatter = 0.02
    measured_ms = [1.2 * 5 * math.exp(-scatter), 1.2 * 7, 1.2 * 11 * math.exp(scatter)]
    scale, offset_ms, interval_percent = fit_line([5, 7, 11], measured_ms)
    assert (scale, offset_ms) == (pytest.approx(1.2), 0)
    assert interval_percent == pytest.approx(100 * (math.exp(T_95_2 * scatter * math.sqrt(4 / 3)) - 1), rel=1e-5)


def test_every_network_counts_by_its_relative_error() -> None:
    rng = np.random.default_rng(0)
    sums_ms, ratios = rng.uniform(1, 1000, 20), rng.uniform(0.5, 2, 20)
    assert fit_line(sums_ms[:4], sums_ms[:4] * ratios[:4]).scale == pytest.approx(stats.gmean(ratios[:4]))


@pytest.mark.slow
@pytest.mark.parametrize("number", [3, 10])
def test_nine_in_ten_of_further_networks_fall_into_the_interval(fit: LatencyFit, number: int) -> None:
    rng = np.random.default_rng(number)
    held = []
    for _ in range(4000):
        sums_ms = rng.uniform(10, 100, number + 1)
        measured_ms = 1.1 * sums_ms * np.exp(0.03 * rng.standard_normal(number + 1))
        line = fit_line(sums_ms[:-1], measured_ms[:-1])
        found = fit.model_copy(update=line._asdict())
        low_ms, high_ms = found.interval_ms(line.scale * sums_ms[-1] + line.offset_ms)
        held.append(low_ms <= measured_ms[-1] <= high_ms)
    assert np.mean(held) == pytest.approx(0.9, abs=0.02)  # four standard errors


@pytest.mark.parametrize("number", [0, 1, 2])
def test_two_networks_say_nothing_of_scatter(number: int) -> None:
    with pytest.raises(ConfigError, match=f"a fit needs at least 3 networks, got {number}; measure more"):
        fit_line([1.0] * number, [1.0] * number)


def test_networks_to_fit_stand_evenly_between_the_fastest_and_the_slowest(
    space: SearchSpace, table: LatencyTable
) -> None:
    predictor = LatencyPredictor(space, table)
    # With 36 architectures, the sample they are taken from is the whole space.
    sorted_ms = sorted(predictor.predict(one).pipeline_ms for one in space.enumerate())
    chosen = fit_architectures(space, predictor, 8, seed=3)
    assert [predictor.predict(one).pipeline_ms for one in chosen] == [sorted_ms[place] for place in range(0, 36, 5)]
    assert len(set(chosen)) == 8
    assert set(fit_architectures(space, predictor, 100, seed=3)) == set(space.enumerate())


def test_networks_to_fit_depend_on_the_seed_alone(space: SearchSpace, table: LatencyTable) -> None:
    flat = LatencyTable(
        table.metadata, {key: row.model_copy(update={"latency_ms": 1.0}) for key, row in table.rows.items()}
    )
    predictor = LatencyPredictor(space, flat)
    draws = [fit_architectures(space, predictor, 5, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_fit_to_measured_networks_corrects_their_sums(space: SearchSpace, table: LatencyTable) -> None:
    table = table.add([row.model_copy(update={"latency_ms": 1000.0}) for row in table.rows.values()])
    fit = fit_networks(space, table, None, networks=4, measurement=QUICK)
    sums_ms = {one.id: LatencyPredictor(space, table).predict(one).unet_ms for one in space.enumerate()}
    assert len({network.architecture for network in fit.networks}) == 4
    for network in fit.networks:
        assert network.sum_ms == sums_ms[network.architecture]
        assert space.architecture(network.choices).id == network.architecture
        # Tiny networks take milliseconds, where the table says seconds.
        assert 0 < network.measured_ms < network.sum_ms
    sums_ms, measured_ms = zip(*((one.sum_ms, one.measured_ms) for one in fit.networks), strict=True)
    assert (fit.scale, fit.offset_ms, fit.interval_percent) == fit_line(sums_ms, measured_ms)
    corrected = LatencyPredictor(space, table, fit=fit)
    errors = [corrected.predict(space.architecture(one.choices)).unet_ms / one.measured_ms for one in fit.networks]
    assert stats.gmean(errors) == pytest.approx(1)


def test_a_loose_fit_comes_with_a_warning(
    space: SearchSpace, table: LatencyTable, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows of random length predict nothing."""
    rows = [
        row.model_copy(update={"latency_ms": 10.0 ** (number % 4)}) for number, row in enumerate(table.rows.values())
    ]
    fit = fit_networks(space, table.add(rows), None, networks=4, measurement=QUICK)
    assert fit.interval_percent > 20
    assert f"by +-{fit.interval_percent:.0f}%: predictions say little" in caplog.text


def test_too_few_networks_are_refused_before_anything_is_measured(space: SearchSpace, table: LatencyTable) -> None:
    elsewhere = table.add((), cpu="another processor")
    with pytest.raises(ConfigError, match="at least 3 networks, got 2"):
        fit_networks(space, elsewhere, None, networks=2, measurement=QUICK)
    pair = space.without({slot.id: slot.candidates[1 if slot is not space.slots[-1] else 2 :] for slot in space.slots})
    assert pair.count() == 2
    with pytest.raises(ConfigError, match="at least 3 networks, got 2"):
        fit_networks(pair, elsewhere, None, networks=5, measurement=QUICK)


def test_networks_are_fitted_where_their_blocks_were_measured(space: SearchSpace, table: LatencyTable) -> None:
    with pytest.raises(TableError, match=r"measured on a phone \(another processor\), this machine is .*nas profile"):
        fit_networks(space, table.add((), cpu="another processor"), None, measurement=QUICK)
    with pytest.raises(TableError, match=r"threads=1.*threads=2"):
        fit_networks(space, table, get_runtime("torch", threads=2), measurement=QUICK)
    with pytest.raises(TableError, match=r"statistic is 'mean', networks are measured by 'evened p25'"):
        fit_networks(space, table.add((), statistic="mean"), None, measurement=QUICK)


def test_a_runtime_that_cannot_measure_here_is_refused(
    space: SearchSpace, table: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = get_runtime("torch")
    monkeypatch.setattr(runtime, "unavailable_reason", lambda: "it is out of order")
    with pytest.raises(RuntimeUnavailableError, match="runtime torch cannot measure here: it is out of order"):
        fit_networks(space, table, runtime, measurement=QUICK)


def test_a_fit_comes_back_from_its_file_as_it_was(fit: LatencyFit, tmp_path: Path) -> None:
    path = fit.save(tmp_path / "phone.v2.csv")
    assert path == fit_path(tmp_path / "phone.v2.csv", "tiny") == tmp_path / "phone.v2.tiny.fit.json"
    assert LatencyFit.load(tmp_path / "phone.v2.csv", "tiny") == fit


def test_a_missing_fit_is_an_error_with_the_command_that_makes_one(tmp_path: Path) -> None:
    message = r"table\.tiny\.fit\.json: no such fit; make one with: nas latency fit SPACE --table .*table\.csv$"
    with pytest.raises(TableError, match=message):
        LatencyFit.load(tmp_path / "table.csv", "tiny")


def changed(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content | values


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {name: value for name, value in content.items() if name != key}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("scale"), "key scale is missing; fit again with: nas latency fit SPACE --table"),
        (changed(scale=-1.2), r"scale: expected more than 0(\.0)?; got -1\.2"),
        (changed(scale=math.nan), "not JSON: NaN is not a number in JSON"),
        (changed(interval_percent=math.inf), "not JSON: Infinity is not a number in JSON"),
        (changed(interval_percent=-3.0), r"interval_percent: expected at least 0(\.0)?; got -3\.0"),
        (
            changed(scale=1.07),
            "scale, offset_ms and interval_percent do not follow from the networks: the file was edited",
        ),
        (changed(networks=[]), "networks: expected at least 3 entries"),
        (changed(measured_at="2026-01-01T00:00:00"), "measured_at: "),
        (changed(schema_version=2), "schema_version is 2, this version of nas reads 1"),
        (without("schema_version"), "schema_version is None, this version of nas reads 1"),
        (changed(space="other"), "space: expected 'tiny', got 'other'"),
        (changed(factor=1.0), "unknown key factor"),
        (lambda content: [content], "expected a mapping of keys, got list"),
    ],
)
def test_a_damaged_fit_is_one_line_that_names_file_and_key(
    fit: LatencyFit, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = fit.save(tmp_path / "table.csv")
    path.write_text(json.dumps(change(json.loads(path.read_text()))), encoding="utf-8")
    with pytest.raises(TableError, match=rf"^{path}: {message}") as caught:
        LatencyFit.load(tmp_path / "table.csv", "tiny")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("measured_ms", [1e-300, 1e-12, 1e12, 1e300])
def test_networks_that_have_nothing_to_do_with_their_sums_are_no_fit(
    fit: LatencyFit, tmp_path: Path, measured_ms: float
) -> None:
    path = fit.save(tmp_path / "table.csv")
    content = json.loads(path.read_text())
    content["networks"][0]["measured_ms"] = measured_ms
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TableError, match=rf"^{path}: the latencies of the networks have nothing to do with the sums"):
        LatencyFit.load(tmp_path / "table.csv", "tiny")


@pytest.mark.parametrize("content", ["", "{", "scale = 1", "\x00"])
def test_a_fit_that_is_not_json_is_one_line(fit: LatencyFit, tmp_path: Path, content: str) -> None:
    path = fit.save(tmp_path / "table.csv")
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TableError, match=rf"^{path}: not JSON: .*"):
        LatencyFit.load(tmp_path / "table.csv", "tiny")


def test_a_torn_network_names_its_place(fit: LatencyFit, tmp_path: Path) -> None:
    path = fit.save(tmp_path / "table.csv")
    content = json.loads(path.read_text())
    content["networks"][1]["measured_ms"] = 0
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TableError, match=r"networks\[1\]\.measured_ms: expected more than 0"):
        LatencyFit.load(tmp_path / "table.csv", "tiny")
