"""Several tables of one device: each architecture gets the settings it is fastest with."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.errors import ArchitectureError, TableError
from nas.latency import LatencyPredictor, LatencyRow, LatencyTable, TableMetadata, fastest_settings, space_blocks
from nas.space import SearchSpace

Make = Callable[..., Path]


@pytest.fixture
def make(space: SearchSpace, tmp_path: Path) -> Make:
    """Write a table of random latencies for some settings; the path. Kinds in `refused` ran out of memory."""

    def write(opset: str, seed: int, refused: tuple[str, ...] = (), **conditions: str) -> Path:
        rng = random.Random(seed)
        placed = {block.key for block in space.placed_blocks().values()}  # what all share would decide alone
        rows = [
            LatencyRow(key=block.key, kind=block.kind, status="out_of_memory", provenance="measured")
            if block.kind in refused
            else LatencyRow(
                key=block.key,
                kind=block.kind,
                latency_ms=rng.uniform(0.1, 1) if block.key in placed else 0.1,
                provenance="published",
            )
            for block in space_blocks(space)
        ]
        metadata = TableMetadata(**{"device": "a phone", "runtime": "coreml", "opset": opset} | conditions)
        path = tmp_path / f"{opset}-{seed}.csv"
        LatencyTable(metadata).add(rows).save(path)
        return path

    return write


def test_each_architecture_gets_the_table_it_is_fastest_in(space: SearchSpace, make: Make) -> None:
    paths = [make("iOS17", 1), make("iOS18", 2), make("iOS18", 3, compute_unit="all")]
    usable, latency, removed = fastest_settings(space, paths, 3)
    names = ["coreml, iOS17, cpu", "coreml, iOS18, cpu", "coreml, iOS18, all"]
    chosen = set()
    for one in space.enumerate():
        each = {
            name: LatencyPredictor(space, LatencyTable.load(path), 3).predict(one).pipeline_ms
            for name, path in zip(names, paths, strict=True)
        }
        found = latency.predict(one)
        assert found.pipeline_ms == min(each.values())
        assert each[found.runtime] == found.pipeline_ms
        chosen.add(found.runtime)
    assert len(chosen) > 1
    everything = list(space.enumerate())
    assert latency.predict(latency.fastest()).pipeline_ms == min(latency.predict(one).pipeline_ms for one in everything)
    assert (usable.count(), removed) == (space.count(), ())


def test_what_one_setting_cannot_run_another_may(space: SearchSpace, make: Make) -> None:
    usable, latency, removed = fastest_settings(space, [make("iOS17", 1, ("conv3d",)), make("iOS18", 2)])
    assert (usable.count(), removed) == (space.count(), ())
    for one in usable.enumerate():
        assert latency.predict(one).runtime.startswith("coreml, iOS18") or "conv3d" not in one.choices
    nowhere = [make("iOS17", 1, ("conv3d",)), make("iOS18", 2, ("conv3d", "self_attention_1d"))]
    usable, latency, removed = fastest_settings(space, nowhere)
    assert [each.candidate for each in removed] == ["conv3d"]
    assert latency.fastest().choices in {one.choices for one in usable.enumerate()}
    lost = next(one for one in space.enumerate() if "conv3d" in one.choices)
    with pytest.raises(ArchitectureError, match="conv3d was removed from mid/0"):
        latency.predict(lost)


def test_an_architecture_that_is_searched_can_run_somewhere(space: SearchSpace, make: Make) -> None:
    paths = [make("iOS17", 1, ("conv3d", "separable_conv1d")), make("iOS18", 2, ("self_attention_1d",))]
    usable, latency, removed = fastest_settings(space, paths)
    assert [each.candidate for each in removed] == ["self_attention_1d"]
    assert all(latency.predict(one).pipeline_ms > 0 for one in usable.enumerate())


def test_settings_that_run_nothing_are_left_out(space: SearchSpace, make: Make, caplog) -> None:
    paths = [make("iOS17", 1, ("resnet",)), make("iOS18", 2)]
    usable, latency, removed = fastest_settings(space, paths)
    assert (usable.count(), removed) == (space.count(), ())
    assert len(latency.predictors) == 1
    assert "no architecture of tiny can run" in caplog.text
    with pytest.raises(TableError, match="no architecture of tiny can run"):
        fastest_settings(space, paths[:1])


def test_one_table_predicts_as_it_always_did(space: SearchSpace, make: Make) -> None:
    path = make("iOS18", 1)
    _, latency, _ = fastest_settings(space, [path])
    one = space.smallest()
    assert latency.predict(one) == LatencyPredictor(space, LatencyTable.load(path)).predict(one)


def test_tables_of_two_devices_or_of_equal_settings_are_refused(space: SearchSpace, make: Make) -> None:
    with pytest.raises(TableError, match=r"device is 'another', .* has 'a phone'; give them to nas"):
        fastest_settings(space, [make("iOS17", 1), make("iOS18", 2, device="another")])
    with pytest.raises(TableError, match=r"the same settings as .*: coreml, iOS17, cpu; merge tables"):
        fastest_settings(space, [make("iOS17", 1), make("iOS17", 2)])
    with pytest.raises(TableError, match="no table to predict from"):
        fastest_settings(space, [])
