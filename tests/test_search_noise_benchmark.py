"""The benchmark of noise, on losses that are made up: what it calls true, and how it judges choices."""

from __future__ import annotations

from argparse import Namespace
from statistics import fmean

import numpy as np
import pytest

from benchmarks.search_noise import Draw, _outcomes, _show
from nas.search import SearchConfig, run_search
from tests.search.problem import FormulaLatency, FormulaQuality, formula_loss, small_space

SPACE = small_space()
OPTIONS = Namespace(fixed=16, budgets=4)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    storage, config = tmp_path_factory.mktemp("noise") / "s.db", SearchConfig(sampler="exhaustive")
    return run_search(SPACE, FormulaLatency(SPACE), FormulaQuality(), config, storage, "s").record


def pool(own):
    """Batches share a lot of noise; architectures have `own` noise."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 5, 128)
    return {one.id: tuple(formula_loss(one) + shared + rng.normal(0, own, 128)) for one in SPACE.enumerate()}


def test_the_truth_is_made_of_the_batches_that_are_not_drawn():
    batches = {"a": tuple(map(float, range(128))), "b": tuple(-float(number) for number in range(128))}
    draw = Draw.of(batches, 3, 64)
    rest = set(batches["a"]) - set(draw.parts["a"])
    assert (len(draw.parts["a"]), len(rest), draw.truth["a"]) == (64, 64, pytest.approx(fmean(rest)))
    assert draw.parts["b"] == tuple(-loss for loss in draw.parts["a"])
    assert draw.parts != Draw.of(batches, 4, 64).parts


def test_without_noise_of_its_own_each_choice_is_the_best(record):
    outcomes = _outcomes(OPTIONS, record, Draw.of(pool(0.0), 0, 64), 8)
    assert len(outcomes) == 2 * 2 * 4
    assert {(one.rank, one.own_rank) for one in outcomes} == {(1, 1)}
    assert {one.worse for one in outcomes} == {0.0}
    assert {one.batches for one in outcomes if one.scoring == "halving"} == {0}


def test_with_noise_a_faster_one_is_chosen_at_no_more_cost(record, capsys):
    draws = [Draw.of(pool(3.0), seed, 64) for seed in range(3)]
    outcomes = [one for draw in draws for one in _outcomes(OPTIONS, record, draw, 8)]
    cost = {(one.scoring, one.seed): one.batches for one in outcomes}
    assert all(0 < cost["halving", seed] <= cost["fixed", seed] for seed in range(3))
    assert max(one.rank for one in outcomes) > 1
    assert all(one.faster_ms == 0 for one in outcomes if one.choosing == "by score")
    assert any(one.faster_ms > 0 for one in outcomes if one.choosing == "with noise")
    _show(outcomes)
    assert capsys.readouterr().out.count(" of 12 ") == 2 * 4
