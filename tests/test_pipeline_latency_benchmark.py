"""benchmarks/pipeline_latency.py on a small scale; its figures are not judged here."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pipeline_latency
from nas.latency import (
    LatencyPredictor,
    LatencyRow,
    LatencyTable,
    MeasurementSettings,
    TableMetadata,
    space_blocks,
)
from nas.runtimes import get_runtime
from nas.runtimes.environment import cpu_model
from nas.space import SearchSpace
from tests.export.conftest import SPACE


@pytest.mark.slow
def test_whole_clips_are_compared_with_every_expectation(tmp_path: Path) -> None:
    space = SearchSpace.from_dict(SPACE)
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=1.0 + index, provenance="published")
        for index, block in enumerate(space_blocks(space))
    ]
    metadata = TableMetadata(device="a machine", runtime="onnxruntime", cpu=cpu_model())
    table = LatencyTable(metadata).add(rows).save(tmp_path / "table.csv")
    quick = MeasurementSettings(rounds=2, max_seconds=0.01, min_seconds=0)
    options = {"table": table, "networks": 1, "fitted": 0, "steps": 3, "seed": 0, "measurement": quick}
    report = pipeline_latency.run(space, get_runtime("onnxruntime"), options, tmp_path)
    (row,) = report["rows"]
    (architecture,) = [each for each in space.enumerate() if each.id == row["architecture"]]
    assert row["predictor_ms"] == row["sum_of_blocks_ms"] == row["corrected_ms"]
    assert row["predictor_ms"] == LatencyPredictor(space, table, steps=3).predict(architecture).pipeline_ms
    parts = row["parts_ms"]
    assert row["own_networks_ms"] == pytest.approx(parts["text_encoder"] + 3 * parts["unet"] + parts["decoder"])
    assert row["clip_ms"] > parts["unet"] > 0
    assert f"{row['clip_ms']:.2f}" in pipeline_latency.as_text(report)
    assert report["errors"]["predictor_ms"]["mape"] == pytest.approx(abs(row["predictor_ms"] / row["clip_ms"] - 1))
