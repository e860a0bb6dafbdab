"""Latencies known beforehand: sums and rows against closed forms, and what is refused."""

from __future__ import annotations

import itertools
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError, ConfigError, TableError
from nas.search import ChoiceSpace, SumLatency, TableLatency
from nas.space import Architecture

SPACE = ChoiceSpace({"a": ["x", "y"], "b": ["x", "y", "z"]}, name="s")
ROWS = {choices: 1.0 + number for number, choices in enumerate(itertools.product("xy", "xyz"))}
WHENCE = {"provenance": "measured", "device": "bench", "runtime": "torch"}


def test_each_architecture_has_its_own_figure():
    frame = pd.DataFrame([{"b": b, "a": a, "latency_ms": ms, "note": "-"} for (a, b), ms in ROWS.items()])

    for table in (TableLatency(SPACE, ROWS, **WHENCE), TableLatency(SPACE, frame, **WHENCE)):
        for one in SPACE.enumerate():
            figure = table.predict(one)
            assert figure.pipeline_ms == figure.unet_ms == ROWS[one.choices]
            assert (figure.provenance, figure.device, figure.runtime) == ("measured", "bench", "torch")
        assert table.fastest() == SPACE.architecture(["x", "x"])
        assert len(table) == 6


def test_what_is_not_in_the_table_is_an_error_that_names_it():
    missing = SPACE.architecture(["y", "z"])
    table = TableLatency(SPACE, {("x", "x"): 1.0}, **WHENCE)

    with pytest.raises(TableError, match=rf"no latency of {missing.id} \(a: y; b: z\)"):
        table.predict(missing)
    with pytest.raises(ArchitectureError):
        table.predict(Architecture("other", (("a", ("q",)), ("b", ("x",)))))


@pytest.mark.parametrize("value", [math.nan, math.inf, 0, -1.0, "3", None, True])
def test_bad_values_are_refused_at_once_by_row(value):
    with pytest.raises(TableError, match="row y z: expected milliseconds"):
        TableLatency(SPACE, {**ROWS, ("y", "z"): value}, **WHENCE)


def test_tables_that_do_not_fit_the_space():
    with pytest.raises(TableError, match="row x q: slot b cannot hold 'q'"):
        TableLatency(SPACE, {("x", "q"): 1.0}, **WHENCE)
    with pytest.raises(TableError, match="row x: 1 choices for 2 slots"):
        TableLatency(SPACE, {("x",): 1.0}, **WHENCE)
    with pytest.raises(TableError, match="has no rows"):
        TableLatency(SPACE, {}, **WHENCE)
    with pytest.raises(TableError, match="has no column b, latency_ms"):
        TableLatency(SPACE, pd.DataFrame({"a": ["x"], "ms": [1.0]}), **WHENCE)
    with pytest.raises(ConfigError, match="provenance 'guessed' is unknown"):
        TableLatency(SPACE, ROWS, **{**WHENCE, "provenance": "guessed"})


def test_equal_architectures_have_one_latency():
    either = ChoiceSpace({"a": ["x", "y"], "b": ["x", "y"]}, name="s", canonical=lambda one: tuple(sorted(one)))

    agreed = TableLatency(either, {("x", "y"): 2.0, ("y", "x"): 2.0}, **WHENCE)
    assert agreed.predict(either.architecture(["y", "x"])).pipeline_ms == 2.0
    with pytest.raises(TableError, match="row y x: 2 ms and 3 ms for one architecture"):
        TableLatency(either, {("x", "y"): 2.0, ("y", "x"): 3.0}, **WHENCE)


@given(st.data())
def test_a_sum_is_the_sum_and_its_least_the_least(data):
    ms = st.floats(0.01, 100)
    parts = {slot.id: {one: data.draw(ms) for one in slot.candidates} for slot in SPACE.slots}
    constant_ms = data.draw(ms)
    latency = SumLatency(SPACE, parts, constant_ms=constant_ms, **WHENCE)

    sums = {}
    for one in SPACE.enumerate():
        a, b = one.choices
        sums[one] = latency.predict(one).pipeline_ms
        assert sums[one] == pytest.approx(constant_ms + parts["a"][a] + parts["b"][b])
    assert sums[latency.fastest()] == min(sums.values())


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"a": {"x": 1, "y": 1}}, "slots of the space: lacks b"),
        ({"a": {"x": 1}, "b": {"x": 1, "y": 1, "z": 1}}, "slot a: does not have the candidates.*: lacks y"),
        ({"a": {"x": 1, "y": 1, "q": 1}, "b": {"x": 1, "y": 1, "z": 1}}, "adds q"),
        ({"a": {"x": 1, "y": math.nan}, "b": {"x": 1, "y": 1, "z": 1}}, "a, y: expected milliseconds, got nan"),
        ({"a": {"x": 1, "y": -1}, "b": {"x": 1, "y": 1, "z": 1}}, "a, y: expected milliseconds, zero or more"),
    ],
)
def test_sums_that_do_not_fit_the_space(parts, words):
    with pytest.raises(TableError, match=words):
        SumLatency(SPACE, parts, **WHENCE)


def test_sums_that_contradict_the_space_are_found_out():
    either = ChoiceSpace({"a": ["x", "y"], "b": ["x", "y"]}, name="s", canonical=lambda one: tuple(sorted(one)))
    parts = {"a": {"x": 5.0, "y": 1.0}, "b": {"x": 1.0, "y": 5.0}}

    with pytest.raises(TableError, match="y x and x y are one architecture, and their sums differ"):
        SumLatency(either, parts, **WHENCE).fastest()
