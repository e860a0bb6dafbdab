"""Predictions are sums over the plan, however they are computed."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from nas.errors import ArchitectureError, TableError
from nas.latency import LatencyPredictor, LatencyTable
from nas.space import Architecture, SearchSpace


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
