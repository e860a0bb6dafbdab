"""Tables of several devices: what runs on all of them, and how fast on each."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import ConfigError, TableError
from nas.latency import (
    LatencyPredictor,
    LatencyRow,
    LatencyTable,
    TableMetadata,
    device_latencies,
    fastest_settings,
    space_blocks,
)
from nas.space import SearchSpace
from tests.latency.conftest import TINY

Make = Callable[..., Path]


@pytest.fixture
def make(space: SearchSpace, tmp_path: Path) -> Make:
    """Write a table of random latencies for a device; the path. Kinds in `refused` ran out of memory."""

    def write(
        device: str, seed: int, refused: tuple[str, ...] = (), *, opset: str = "iOS18", **known_ms: float
    ) -> Path:
        rng = random.Random(seed)
        placed = {block.key for block in space.placed_blocks().values()}
        rows = [
            LatencyRow(key=block.key, kind=block.kind, status="out_of_memory", provenance="measured")
            if block.kind in refused and block.key in placed
            else LatencyRow(
                key=block.key,
                kind=block.kind,
                latency_ms=rng.uniform(0.1, 1) if block.key in placed else 0.1,
                provenance="estimated",
            )
            for block in space_blocks(space)
        ]
        path = tmp_path / f"{device}-{opset}-{seed}.csv"
        LatencyTable(TableMetadata(device=device, runtime="coreml", opset=opset)).add(rows).save(path)
        return path

    return write


def test_tables_are_grouped_by_device_and_the_fastest_settings_of_each_count(space: SearchSpace, make: Make) -> None:
    paths = {"A": [make("A", 1), make("A", 2, opset="iOS17")], "B": [make("B", 3)]}
    found = device_latencies(space, [paths["A"][0], *paths["B"], paths["A"][1]], 3)

    assert (found.space.count(), found.removed) == (space.count(), ())
    for one in space.enumerate():
        for device, model in found.models.items():
            each = [LatencyPredictor(space, LatencyTable.load(path), 3).predict(one) for path in paths[device]]
            assert model.predict(one).pipeline_ms == min(latency.pipeline_ms for latency in each)
            assert model.predict(one).device == device
    assert "iOS17" in found.models["A"].runtime


def test_one_device_is_what_fastest_settings_returns(space: SearchSpace, make: Make) -> None:
    paths = [make("A", 1, ("conv3d",)), make("A", 2, ("conv3d", "conv1d"), opset="iOS17")]
    found, (searched, latency, removed) = device_latencies(space, paths), fastest_settings(space, paths)

    assert list(found.models) == ["A"]
    assert found.removed == removed != ()
    assert found.removed[0].to_dict() == {
        name: value for name, value in dataclasses.asdict(removed[0]).items() if name != "device"
    }
    assert [slot.candidates for slot in found.space.slots] == [slot.candidates for slot in searched.slots]
    for one in searched.enumerate():
        assert found.models["A"].predict(one) == latency.predict(one)


def test_what_cannot_run_on_one_device_is_left_out_for_all_and_the_device_is_named(
    space: SearchSpace, make: Make
) -> None:
    paths = [make("A", 1, ("conv3d",)), make("B", 2, ("conv3d", "self_attention_1d"))]
    found = device_latencies(space, paths)

    assert [(gone.candidate, gone.device) for gone in found.removed] == [("conv3d", "A"), ("self_attention_1d", "B")]
    assert str(found.removed[1]).startswith("down.0/0 cannot hold self_attention_1d on B: ")
    assert found.removed[1].to_dict()["device"] == "B"
    names = {name for slot in found.space.slots for name in slot.candidates}
    assert not names & {"conv3d", "self_attention_1d"}
    everything = list(found.space.enumerate())
    for model in found.models.values():
        fastest = min(model.predict(one).pipeline_ms for one in everything)
        assert model.predict(model.fastest()).pipeline_ms == fastest


def test_devices_that_leave_a_slot_without_candidates_are_refused(space: SearchSpace, make: Make) -> None:
    paths = [make("A", 1, ("conv1d",)), make("B", 2, ("separable_conv1d",))]
    with pytest.raises(TableError, match=r"all devices: .*conv1d on A: .*; .*separable_conv1d on B: .* leave a device"):
        device_latencies(space, paths)


LAYERS = {
    "split": {"kind": "self_attention_1d", "form": "split_heads"},
    "matmul": {"kind": "self_attention_1d", "form": "matmul"},
}
SAME = ("self_attention_1d", "split", "matmul")
VARIED = TINY | {"layers": LAYERS, "slots": [{"stage": "mid", "candidates": ["none", *SAME]}]}


def timed(space: SearchSpace, device: str, latencies_ms: Sequence[float], folder: Path) -> Path:
    """A table in which the three implementations take so long; 0 ran out of memory."""
    known = dict(zip(SAME, latencies_ms, strict=True))
    placed = {block: known[name] for (_, name), block in space.placed_blocks().items()}
    table = LatencyTable(TableMetadata(device=device, runtime="coreml"))
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=placed.get(block, 1.0), provenance="estimated")
        if placed.get(block, 1.0)
        else LatencyRow(key=block.key, kind=block.kind, status="out_of_memory", provenance="measured")
        for block in space_blocks(space)
    ]
    table.add(rows).save(folder / f"{device}.csv")
    return folder / f"{device}.csv"


TIMES = st.tuples(*[st.sampled_from([0, 0.5, 1.0, 1.5])] * 3)


@given(first=TIMES, second=TIMES)
@settings(max_examples=20)
def test_an_implementation_is_left_out_if_it_is_slower_on_every_device(
    tmp_path_factory: pytest.TempPathFactory, first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    space, folder = SearchSpace.from_dict(VARIED, where="varied.yaml"), tmp_path_factory.mktemp("tables")
    found = device_latencies(space, [timed(space, "A", first, folder), timed(space, "B", second, folder)])

    able = [place for place in range(3) if first[place] and second[place]]
    points = [(first[place], second[place]) for place in able]
    kept = [
        SAME[place]
        for number, (place, (on_a, on_b)) in enumerate(zip(able, points, strict=True))
        if not any(a <= on_a and b <= on_b and ((a, b) != (on_a, on_b) or other < number)
                   for other, (a, b) in enumerate(points) if other != number)
    ]  # fmt: skip
    assert found.space.slots[0].candidates == ("none", *kept)
    assert {gone.candidate for gone in found.removed if gone.instead is None} == {
        SAME[place] for place in range(3) if place not in able
    }
    assert all("on A, " in gone.reason and "on B, " in gone.reason for gone in found.removed if gone.instead)


def test_the_compromise_between_two_devices_stays(tmp_path: Path) -> None:
    """It is the fastest on neither, and the largest share of a budget is smallest with it."""
    space = SearchSpace.from_dict(VARIED, where="varied.yaml")
    paths = [timed(space, device, times, tmp_path) for device, times in (("A", (10, 100, 11)), ("B", (100, 10, 11)))]
    found = device_latencies(space, paths)

    assert (found.space.slots[0].candidates, found.removed) == (("none", *SAME), ())


@pytest.mark.parametrize("count", [0, 1])
def test_tables_of_one_device_must_differ_in_their_settings(space: SearchSpace, make: Make, count: int) -> None:
    others = [make("B", 9)] * count
    with pytest.raises(TableError, match=r"the same settings as .*: coreml, iOS18, cpu; merge tables"):
        device_latencies(space, [make("A", 1), make("A", 2), *others])


QUALITY = """
def loss(architecture):
    return 9.0 - sum(len(choice) for choice in architecture.choices if choice != "none")

loss.direction = "minimize"
"""


@pytest.mark.slow
def test_a_search_by_command_names_every_device_from_the_tables_to_the_pick(
    space_file: Path, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "by_length.py").write_text(QUALITY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(app, arguments)
        assert result.exit_code == 0, result.exception
        return result.stdout

    def refused(*arguments: str) -> str:
        error = runner.invoke(app, arguments).exception
        assert isinstance(error, ConfigError)
        return str(error)

    tables = [f"--table={make('A', 1, ('conv3d',))}", f"--table={make('B', 2)}"]
    search = ["search", str(space_file), *tables, "--study=s", "--quality=by_length:loss", "--sampler=random",
              "--evaluations=6"]  # fmt: skip

    assert '--latency "A"' in refused(*search)
    assert "--latency worst" in refused(*search)
    limits = {"A": 30, "B": 40}
    budgets = [f"--latency-budget-ms={device}={limit}" for device, limit in limits.items()]
    found = json.loads(run(*search, "--latency=worst", *budgets, "--json"))
    assert {gone["candidate"]: gone["device"] for gone in found["removed"]} == {"conv3d": "A"}
    for member in found["front"]:
        share = {name: member["devices"][name]["latency_ms"] / limit for name, limit in limits.items()}
        assert member["share"] == max(share.values())
        assert share[member["device"]] == member["share"]

    shown = run("front", "--study=s")
    for words in ("share", "A, ms", "B, ms", "30 ms on A", "40 ms on B", "estimated latency on A", "no unit"):
        assert words in " ".join(shown.split())
    document = json.loads(run("front", "--study=s", "--json"))
    assert document["front"] == found["front"]
    assert (document["second_objective"], document["latency_budgets_ms"]) == ("worst", limits)
    assert document["hypervolume"]["reference"].keys() == {"quality", "share"}
    assert [device["provenance"] for device in document["devices"].values()] == [["estimated"]] * 2

    limit = found["front"][-1]["devices"]["B"]["latency_ms"] - 1e-9
    picked = json.loads(run("pick", "--study=s", f"--latency-budget-ms=B={limit}", "--out=one.yaml", "--json"))
    within = [one for one in found["front"] if one["devices"]["B"]["latency_ms"] <= limit]
    assert picked["quality"] <= min(one["quality"] for one in within)
    assert picked["devices"]["B"]["latency_ms"] <= limit
    assert re.search("where from +│ estimated │ estimated │", run("pick", "--study=s", "--knee", "--out=one.yaml"))
    run("plot", "--study=s", "--latency-budget-ms=A=29", "--out=front.svg")
    assert "4 ms without a device" in refused("plot", "--study=s", "--latency-budget-ms=4", "--out=no.svg")
