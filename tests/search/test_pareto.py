"""Front, hypervolume and knee: against their definitions, and against Optuna."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna._hypervolume import compute_hypervolume

from nas.search import hypervolume, pareto_front
from nas.search.pareto import knee, pareto_ranks

MIN2 = ("minimize", "minimize")
directions = st.sampled_from(["minimize", "maximize"])
# Few distinct numbers, so that ties and duplicates are common.
numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(-10, 10))


def clouds(objectives: int) -> st.SearchStrategy[list[list[float]]]:
    return st.lists(st.lists(numbers, min_size=objectives, max_size=objectives), max_size=25)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[str]]:
    objectives = draw(st.integers(1, 4))
    return draw(clouds(objectives)), draw(st.lists(directions, min_size=objectives, max_size=objectives))


def by_definition(points: list[list[float]], ways: list[str]) -> list[bool]:
    losses = [[value if way == "minimize" else -value for value, way in zip(p, ways, strict=True)] for p in points]

    def dominates(a: list[float], b: list[float]) -> bool:
        return all(x <= y for x, y in zip(a, b, strict=True)) and a != b

    return [not any(dominates(other, one) for other in losses) for one in losses]


@given(problems())
def test_the_front_is_what_the_definition_says(problem):
    points, ways = problem

    assert pareto_front(points, ways).tolist() == by_definition(points, ways)


@given(clouds(2), st.tuples(directions, directions))
def test_the_front_is_that_of_optuna(points, ways):
    study = optuna.create_study(directions=list(ways))
    study.add_trials([optuna.trial.create_trial(values=values) for values in points])

    mask = pareto_front(points, ways)

    assert [trial.number for trial in study.best_trials] == np.flatnonzero(mask).tolist()


def test_equal_points_are_on_the_front_together():
    assert pareto_front([[1, 2], [1, 2], [1, 3], [2, 1]], MIN2).tolist() == [True, True, False, True]


def test_an_unknown_point_neither_leads_nor_dominates():
    assert pareto_front([[np.nan, 0], [1, 1], [0, np.nan]], MIN2).tolist() == [False, True, False]


def test_no_points_have_no_front():
    assert pareto_front([], MIN2).shape == (0,)


def test_infinite_losses_are_compared_like_any_other():
    assert pareto_front([[0, np.inf], [1, np.inf], [2, 5]], MIN2).tolist() == [True, False, True]


@given(clouds(2))
def test_the_hypervolume_is_that_of_optuna(points):
    reference = np.array([2.5, 3.5])
    losses = np.array(points).reshape(-1, 2)
    inside = losses[(losses < reference).all(axis=1)]
    expected = compute_hypervolume(inside, reference) if len(inside) else 0.0

    assert hypervolume(points, reference, MIN2) == pytest.approx(expected)


def test_the_hypervolume_of_a_staircase():
    # Accuracy up, latency down; three steps under a reference of (50, 10).
    points = [[60, 2], [70, 5], [80, 9], [65, 6]]

    assert hypervolume(points, [50, 10], ("maximize", "minimize")) == 10 * 3 + 20 * 4 + 30 * 1


@given(clouds(2), st.lists(numbers, min_size=2, max_size=2))
def test_a_further_point_never_takes_hypervolume_away(points, extra):
    before = hypervolume(points, [5, 5], MIN2)

    assert hypervolume([*points, extra], [5, 5], MIN2) >= before - 1e-9


def test_the_hypervolume_of_three_objectives_is_refused():
    with pytest.raises(ValueError, match="3"):
        hypervolume([[1, 2, 3]], [4, 4, 4], ("minimize",) * 3)


def test_the_knee_is_where_the_curve_bends():
    latency_ms = np.array([1.0, 2.0, 3.0, 10.0])
    loss = np.array([1.0, 0.2, 0.15, 0.1])

    assert knee(np.stack([loss, latency_ms], axis=1), MIN2) == 1
    assert knee(np.stack([-loss, latency_ms], axis=1), ("maximize", "minimize")) == 1


def test_the_knee_is_on_the_front_whatever_lies_behind_it():
    assert knee([[5, 5], [1, 1], [9, 9]], MIN2) == 1


def test_two_members_have_the_faster_one_as_knee():
    assert knee([[0.1, 9], [0.4, 2]], MIN2) == 1


def test_nothing_has_no_knee():
    with pytest.raises(ValueError, match="no knee"):
        knee([], MIN2)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_ranks_are_fronts_of_what_is_left(points):
    ranks = pareto_ranks(points, ("minimize", "maximize"))

    left = list(range(len(points)))
    for rank in range(max(ranks, default=-1) + 1):
        leads = pareto_front([points[index] for index in left], ("minimize", "maximize"))
        assert [ranks[index] == rank for index in left] == leads.tolist()
        left = [index for index in left if ranks[index] != rank]
    assert not left
    assert pareto_ranks([(1, np.nan), (2, 2)], ("minimize", "maximize")).tolist() == [-1, 0]
