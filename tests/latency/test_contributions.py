"""Errors by slot and layer, against pandas."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from nas.errors import ArchitectureError
from nas.latency import CheckReport, error_contributions
from nas.latency.prediction.checking import NetworkCheck
from nas.space import Architecture, SearchSpace


def check(architecture: Architecture, error: float) -> NetworkCheck:
    return NetworkCheck(architecture, 20 * (1 + error), None, None, (20.0,))


def test_they_are_the_conditional_means_of_the_errors(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    chosen = space.sample_distinct(random.Random(0), 7)
    errors = rng.normal(0.01, 0.03, len(chosen))
    report = CheckReport(tuple(check(one, error) for one, error in zip(chosen, errors, strict=True)))
    placed = [
        {"slot": slot.id, "candidate": name, "error": 100 * error}
        for one, error in zip(chosen, errors, strict=True)
        for slot, name in zip(space.slots, one.choices, strict=True)
    ]
    expected = pd.DataFrame(placed).groupby(["slot", "candidate"])["error"].agg(["count", "mean", "sem"])

    found = error_contributions(space, report)

    assert [(each.slot, each.candidate) for each in found] == [
        (slot.id, name) for slot in space.slots for name in slot.candidates
    ]
    assert {(each.slot, each.candidate) for each in found if each.networks} == set(expected.index)
    for each in found:
        if each.networks:
            row = expected.loc[(each.slot, each.candidate)]
            assert each.networks == row["count"]
            assert each.mean_percent == pytest.approx(row["mean"])
            several = each.networks > 1
            assert each.standard_error_percent == (pytest.approx(row["sem"]) if several else None)


def test_a_layer_that_no_network_holds_has_no_mean(space: SearchSpace) -> None:
    (first, *_) = space.enumerate()
    found = error_contributions(space, CheckReport((check(first, 0.05),)))
    choices = dict(zip((slot.id for slot in space.slots), first.choices, strict=True))
    for each in found:
        held = choices[each.slot] == each.candidate
        assert each.networks == int(held)
        assert each.mean_percent == (pytest.approx(5) if held else None)
        assert each.standard_error_percent is None


def test_a_network_of_another_space_is_refused(space: SearchSpace) -> None:
    foreign = Architecture("another", (("mid", ("none",)),))
    with pytest.raises(ArchitectureError, match="another"):
        error_contributions(space, CheckReport((check(foreign, 0.0),)))
