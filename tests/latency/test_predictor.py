"""Predictions are sums over the plan, corrected by a fit, however they are computed."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.errors import ArchitectureError, TableError
from nas.latency import LatencyFit, LatencyPredictor, LatencyTable
from nas.latency.prediction.fit import FittedNetwork
from nas.space import Architecture, SearchSpace
from tests.latency.strategies import measured


def fitted(space: SearchSpace, table: LatencyTable, *ratios: float) -> LatencyFit:
    """A fit to networks that took `ratios` times the sum of their blocks."""
    predictor = LatencyPredictor(space, table)
    networks = []
    for architecture, ratio in zip(space.enumerate(), ratios, strict=False):
        sum_ms = predictor.predict(architecture).unet_ms
        networks.append(
            FittedNetwork(
                architecture=architecture.id,
                choices=architecture.choices,
                sum_ms=sum_ms,
                measured_ms=ratio * sum_ms,
            )
        )
    return LatencyFit.of(space, table, networks, 1.0)


def test_the_pipeline_is_text_encoder_and_steps_and_decoder(space: SearchSpace, table: LatencyTable) -> None:
    pipeline = space.lower_pipeline(space.smallest())
    found = LatencyPredictor(space, table, steps=3).predict(space.smallest())
    parts = [
        sum(table.latency_ms(node.block) for node in plan.nodes)
        for plan in (pipeline.text_encoder, pipeline.unet, pipeline.decoder)
    ]
    assert [found.text_encoder_ms, found.unet_ms, found.decoder_ms] == pytest.approx(parts, rel=1e-5)
    assert found.pipeline_ms == pytest.approx(parts[0] + 3 * parts[1] + parts[2], rel=1e-5)
    assert (found.provenance, found.device, found.runtime) == ("estimated", "a phone", "torch")


def test_each_call_of_a_network_costs_what_the_table_says_beside_its_blocks(
    space: SearchSpace, table: LatencyTable
) -> None:
    dearer = replace(table, metadata=table.metadata.model_copy(update={"call_overhead_ms": 0.25}))
    before, after = (LatencyPredictor(space, each, steps=3) for each in (table, dearer))
    everything = list(space.enumerate())
    assert after.predict(everything[0]).pipeline_ms == pytest.approx(
        before.predict(everything[0]).pipeline_ms + 5 * 0.25
    )
    assert after.predict_many(everything).tolist() == [after.predict(item).pipeline_ms for item in everything]
    # A fit that found the networks to be what was predicted changes nothing.
    fit = fitted(space, dearer, 1.0, 1.0, 1.0)
    assert LatencyPredictor(space, dearer, steps=3, fit=fit).predict(everything[0]).pipeline_ms == pytest.approx(
        after.predict(everything[0]).pipeline_ms
    )


def test_many_at_once_equal_one_by_one_to_the_last_bit(space: SearchSpace, table: LatencyTable) -> None:
    predictor = LatencyPredictor(space, table)
    everything = list(space.enumerate())
    assert predictor.predict_many(everything).tolist() == [predictor.predict(item).pipeline_ms for item in everything]
    assert predictor.predict_many([]).shape == (0,)


def test_any_table_gives_the_same_both_ways_and_the_true_extremes(space: SearchSpace, table: LatencyTable) -> None:
    rng = random.Random(0)
    everything = list(space.enumerate())
    for _ in range(20):
        rows = {key: row.model_copy(update={"latency_ms": 10 ** rng.uniform(-4, 4)}) for key, row in table.rows.items()}
        predictor = LatencyPredictor(space, replace(table, rows=rows), steps=rng.randint(1, 50))
        one_by_one = np.array([predictor.predict(item).pipeline_ms for item in everything])
        assert np.array_equal(predictor.predict_many(everything), one_by_one)
        assert predictor.bounds() == (one_by_one.min(), one_by_one.max())
        assert predictor.predict(predictor.fastest()).pipeline_ms == one_by_one.min()
        assert predictor.predict(predictor.slowest()).pipeline_ms == one_by_one.max()


def test_a_block_that_is_not_in_the_table_is_an_error_and_never_free(space: SearchSpace, table: LatencyTable) -> None:
    without = replace(table, rows={key: row for key, row in table.rows.items() if row.kind != "conv3d"})
    predictor = LatencyPredictor(space, without)
    assert predictor.predict(space.smallest()).unet_ms > 0
    with_conv3d = next(item for item in space.enumerate() if "conv3d" in item.choices)
    message = r"no latency for block conv3d\(.*; measure it with: nas profile .*tiny\.yaml --runtime torch"
    calls = (partial(predictor.predict, with_conv3d), partial(predictor.predict_many, [with_conv3d]), predictor.fastest)
    for call in calls:
        with pytest.raises(TableError, match=message):
            call()


def test_an_architecture_of_another_space_is_refused(space: SearchSpace, table: LatencyTable) -> None:
    foreign = Architecture("elsewhere", space.smallest().layers)
    with pytest.raises(ArchitectureError, match="elsewhere"):
        LatencyPredictor(space, table).predict(foreign)
    with pytest.raises(ArchitectureError, match="elsewhere"):
        LatencyPredictor(space, table).predict_many([foreign])


def test_a_fit_scales_the_network_and_nothing_else(space: SearchSpace, table: LatencyTable) -> None:
    fit = fitted(space, table, 1.1, 1.2, 1.3, 1.25)
    for architecture in space.enumerate():
        plain, found = (LatencyPredictor(space, table, 3, one).predict(architecture) for one in (None, fit))
        assert found.unet_ms == pytest.approx((1.1 * 1.2 * 1.3 * 1.25) ** 0.25 * plain.unet_ms)
        assert (found.text_encoder_ms, found.decoder_ms) == (plain.text_encoder_ms, plain.decoder_ms)
        assert found.pipeline_ms == found.text_encoder_ms + 3 * found.unet_ms + found.decoder_ms


def test_the_interval_holds_what_the_network_may_be_off_and_how_the_other_parts_were_measured(
    space: SearchSpace, table: LatencyTable
) -> None:
    pipeline = space.lower_pipeline(space.smallest())
    text_encoder, decoder = pipeline.text_encoder.nodes[0].block, pipeline.decoder.nodes[0].block
    row = measured(text_encoder.key, 2.0, datetime.now(UTC), kind=text_encoder.kind, ci_low_ms=1.75, ci_high_ms=2.5)
    table = table.add([row])
    fit = fitted(space, table, 1.0, 1.2, 1.3)
    found = LatencyPredictor(space, table, 5, fit).predict(space.smallest())
    decoder_ms, factor = table.latency_ms(decoder), 1 + fit.interval_percent / 100
    assert found.low_ms == pytest.approx(1.75 + 5 * found.unet_ms / factor + decoder_ms, rel=1e-5)
    assert found.high_ms == pytest.approx(2.5 + 5 * found.unet_ms * factor + decoder_ms, rel=1e-5)
    assert found.fitted_networks == 3


def test_without_a_fit_nothing_is_said_of_the_error(space: SearchSpace, table: LatencyTable) -> None:
    found = LatencyPredictor(space, table).predict(space.smallest())
    assert (found.low_ms, found.high_ms, found.fitted_networks) == (None, None, 0)


def test_a_prediction_is_one_flat_record(space: SearchSpace, table: LatencyTable) -> None:
    found = LatencyPredictor(space, table, 6, fitted(space, table, 1.0, 1.2, 1.3)).predict(space.smallest())
    record = json.loads(json.dumps(found.to_dict()))
    assert record["low_ms"] < record["pipeline_ms"] == found.pipeline_ms < record["high_ms"]
    assert (record["unet_calls"], record["fitted_networks"]) == (6, 3)


def test_a_hundred_thousand_at_once_equal_one_by_one_to_the_last_bit(space: SearchSpace, table: LatencyTable) -> None:
    everything = list(space.enumerate())
    rng = random.Random(1)
    many = rng.choices(everything, k=100_000)
    predictor = LatencyPredictor(space, table, 7, fitted(space, table, *(rng.uniform(0.5, 2) for _ in range(9))))
    one_by_one = {item: predictor.predict(item).pipeline_ms for item in everything}
    expected = np.array([one_by_one[item] for item in many])
    assert np.array_equal(predictor.predict_many(many), expected)
    assert np.array_equal(predictor.predict_encoded(space.encode(many)), expected)
    assert predictor.bounds() == (expected.min(), expected.max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda indices: indices[:, 1:], r"indices of shape \(36, 3\), expected \(architectures, 4\)"),
        (lambda indices: indices[0], r"indices of shape \(4,\), expected \(architectures, 4\)"),
        (
            lambda indices: indices - np.eye(36, 4, dtype=int),
            r"row 0: slot down\.0\S* has 3 candidates, none at index -1",
        ),
        (lambda indices: indices + 1, r"row 1: slot up\.1\S* has 2 candidates, none at index 2"),
    ],
)
def test_indices_that_mean_no_architecture_are_refused(
    space: SearchSpace, table: LatencyTable, change: Callable[[Any], Any], message: str
) -> None:
    indices = space.encode(list(space.enumerate()))
    with pytest.raises(ArchitectureError, match=rf"tiny\.yaml: {message}"):
        LatencyPredictor(space, table).predict_encoded(change(indices))


def test_a_fit_holds_for_the_part_of_the_space_that_a_device_can_run(space: SearchSpace, table: LatencyTable) -> None:
    fit = fitted(space, table, 1.0, 1.2, 1.3)
    smaller = space.without({space.slots[0].id: ["conv1d"]})
    whole, part = LatencyPredictor(space, table, fit=fit), LatencyPredictor(smaller, table, fit=fit)
    for architecture in smaller.enumerate():
        assert part.predict(architecture) == whole.predict(architecture)


def test_files_are_opened_with_the_fit_that_lies_beside_the_table(
    space: SearchSpace, table: LatencyTable, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    table.save(path)
    assert LatencyPredictor.open(space, path, 8).predict(space.smallest()) == LatencyPredictor(space, table, 8).predict(
        space.smallest()
    )
    fit = fitted(space, table, 0.9, 0.8, 0.7)
    assert fit.save(path) == tmp_path / "table.tiny.fit.json"
    opened = LatencyPredictor.open(space, path)
    assert opened.fit == fit
    assert opened.predict(space.smallest()).unet_ms < LatencyPredictor(space, table).predict(space.smallest()).unet_ms


def test_a_fit_is_stale_when_a_block_was_measured_again(
    space: SearchSpace, table: LatencyTable, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    fitted(space, table, 1.0, 1.2, 1.3).save(path)
    row = next(iter(table.rows.values()))
    table.add([row.model_copy(update={"latency_ms": math.nextafter(row.latency_ms or 0, math.inf)})]).save(path)
    message = (
        r"table\.tiny\.fit\.json: made for other rows than the table .*table\.csv has now; "
        r"fit again with: nas latency fit .*tiny\.yaml --table .*table\.csv"
    )
    with pytest.raises(TableError, match=message):
        LatencyPredictor.open(space, path)


def test_a_fit_stays_when_another_space_joins_the_table(space: SearchSpace, table: LatencyTable) -> None:
    fit = fitted(space, table, 1.0, 1.2, 1.3)
    joined = table.add([next(iter(table.rows.values())).model_copy(update={"key": "of another space"})])
    assert LatencyPredictor(space, joined, fit=fit).predict(space.smallest()).fitted_networks == 3


def test_a_fit_of_other_content_under_the_same_name_is_refused(space: SearchSpace, table: LatencyTable) -> None:
    fit = fitted(space, table, 1.0, 1.2, 1.3)
    changed = SearchSpace.from_dict(space.to_dict() | {"slots": space.to_dict()["slots"][:1]}, where=space.where)
    with pytest.raises(
        TableError, match=r"made for another space 'tiny' than .*tiny\.yaml; fit again with: nas latency"
    ):
        LatencyPredictor(changed, table, fit=fit)
