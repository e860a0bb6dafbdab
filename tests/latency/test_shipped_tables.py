"""The tables that come with nas hold what they say they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.latency import Estimator, LatencyPredictor, LatencyTable, estimate_table, get_phone
from nas.space import SearchSpace

TABLES = sorted(Path("latency_tables").glob("*.csv"))
ESTIMATED = [path for path in TABLES if "-iphone-" in path.name]


def space_of(path: Path) -> SearchSpace:
    return SearchSpace.load(Path("search_spaces") / f"{path.name.partition('-')[0]}.yaml")


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_every_architecture_of_the_space_has_a_latency(path: Path) -> None:
    predictor = LatencyPredictor.open(space_of(path), path)
    least, most = predictor.bounds()
    assert 0 < least < most
    provenance = "estimated" if path in ESTIMATED else "measured"
    assert {row.provenance for row in predictor.table.rows.values()} == {provenance}
    assert predictor.table.metadata.complete


def test_there_are_estimates_of_every_space_for_two_phones_and_a_measured_table() -> None:
    spaces = {path.stem for path in Path("search_spaces").glob("*.yaml")}
    for phone in ("iphone-15-pro", "iphone-16-pro-max"):
        assert {path.name.partition("-")[0] for path in ESTIMATED if f"-{phone}-" in path.name} == spaces
    assert set(TABLES) - set(ESTIMATED)


@pytest.mark.parametrize("path", [path for path in ESTIMATED if path.name.startswith("three_levels")], ids=str)
def test_estimates_are_those_that_the_program_makes(path: Path) -> None:
    shipped, space = LatencyTable.load(path), space_of(path)
    made = estimate_table(space, Estimator(get_phone(shipped.metadata.device), shipped.metadata.compute_unit))
    assert made.rows.keys() == shipped.rows.keys()
    for key, row in made.rows.items():
        assert row.latency_ms == pytest.approx(shipped.rows[key].latency_ms, rel=1e-6), key
    assert made.metadata.estimate == shipped.metadata.estimate
