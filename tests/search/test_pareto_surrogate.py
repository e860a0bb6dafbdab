"""The parts of the sampler, against closed forms, scikit-learn and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from nas.search import hypervolume
from nas.search.pareto_sampler.acquisition import expected_hypervolume_gain, expected_improvement
from nas.search.pareto_sampler.domain import Domain
from nas.search.pareto_sampler.kernel import (
    ChoiceKernel,
    CountKernel,
    FeatureKernel,
    architecture_kernel,
    log_prior,
)
from nas.search.pareto_sampler.scaling import LossScale
from nas.search.pareto_sampler.surrogate import PoolPosterior, fit_kernel

SLOTS = 4


def rows(count: int, features: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.hstack([rng.integers(3, size=(count, SLOTS)), rng.normal(size=(count, features))])


@pytest.mark.parametrize("shared", [0, 2])
@pytest.mark.parametrize("features", [0, 3])
def test_gradients_of_kernel_and_prior_are_those_of_finite_differences(features, shared):
    kernel = architecture_kernel(SLOTS, SLOTS + features, shared)
    x = rows(7, features)
    theta = kernel.theta + np.random.default_rng(1).normal(scale=0.3, size=len(kernel.theta))
    _, gradient = kernel.clone_with_theta(theta)(x, eval_gradient=True)
    _, slope = log_prior(kernel, theta)
    for place in range(len(theta)):
        step = np.zeros(len(theta))
        step[place] = 1e-5
        above, below = (kernel.clone_with_theta(theta + sign * step)(x) for sign in (1, -1))
        assert gradient[:, :, place] == pytest.approx((above - below) / 2e-5, abs=1e-6)
        values = [log_prior(kernel, theta + sign * step)[0] for sign in (1, -1)]
        assert slope[place] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-5)


def test_trials_added_one_by_one_predict_as_scikit_learn_does_from_all():
    x, pool = rows(30), rows(50, seed=1)
    y = np.sin(x.sum(axis=1))
    kernel = fit_kernel(architecture_kernel(SLOTS, x.shape[1]), x, y)
    posterior = PoolPosterior(kernel, pool, x[:12])
    for row in x[12:]:
        posterior.add(row)
    mean, deviation, _ = posterior.predict(y)
    whole = GaussianProcessRegressor(kernel, alpha=1e-6, optimizer=None).fit(x, y)
    expected_mean, expected_deviation = whole.predict(pool, return_std=True)
    assert mean == pytest.approx(expected_mean, abs=1e-6)
    assert deviation == pytest.approx(expected_deviation, abs=1e-5)


def test_pending_trials_take_the_mean_that_the_others_predict_and_leave_it_as_it_is():
    x, pool = rows(20), rows(40, seed=1)
    y = np.sin(x.sum(axis=1))
    kernel = fit_kernel(architecture_kernel(SLOTS, x.shape[1]), x, y)
    before, wide, _ = PoolPosterior(kernel, pool, x[:15]).predict(y[:15])
    pending = np.concatenate([y[:15], np.full(5, np.nan)])
    mean, narrow, believed = PoolPosterior(kernel, pool, x).predict(pending)
    assert mean == pytest.approx(before, abs=1e-6)
    assert (narrow <= wide + 1e-9).all()
    assert narrow.sum() < wide.sum()
    assert believed[:15] == pytest.approx(y[:15])
    expected, _, _ = PoolPosterior(kernel, x[15:], x[:15]).predict(y[:15])
    assert believed[15:] == pytest.approx(expected, abs=1e-6)


def test_a_fit_finds_the_feature_that_matters():
    x = rows(80, features=5)
    weights = fit_kernel(architecture_kernel(SLOTS, SLOTS + 5), x, np.tanh(2 * x[:, SLOTS + 3])).k1.k2.k2.weight
    assert np.argmax(weights) == 3
    assert weights[3] > 5 * np.delete(weights, 3).max()


def test_features_are_compared_as_by_the_matern_kernel_of_scikit_learn():
    x, y, weight = rows(9), rows(6, seed=1), np.array([0.1, 2.0, 0.5])
    expected = Matern(length_scale=1 / np.sqrt(weight), nu=1.5)(x[:, SLOTS:], y[:, SLOTS:])
    assert FeatureKernel(SLOTS, weight)(x, y) == pytest.approx(expected)


def test_counts_are_compared_as_by_the_matern_kernel_of_scikit_learn():
    x, y, importance, weight = rows(9), rows(6, seed=1), np.array([1.0, 0.5, 2.0, 0.1]), np.array([0.3, 1.5])
    counts, others = (
        np.array([[sum(importance[:SLOTS][row[:SLOTS] == label]) for label in (0, 1)] for row in part])
        for part in (x, y)
    )
    expected = Matern(length_scale=1 / np.sqrt(weight), nu=1.5)(counts, others)
    assert CountKernel(importance, weight)(x, y) == pytest.approx(expected)


def test_a_choice_differs_by_what_both_candidates_are_worth():
    kernel = ChoiceKernel([0.5, 2.0], distinctness=[0.2, 3.0])
    one = np.array([[0, 1]])
    assert kernel(one, np.array([[0, 1]])) == pytest.approx(1)
    assert kernel(one, np.array([[1, 1]])) == pytest.approx(np.exp(-0.5 * (0.2 + 3.0) / 2))
    assert kernel(one, np.array([[0, 7]])) == pytest.approx(np.exp(-2.0 * (3.0 + 1.0) / 2))


def test_what_one_slot_shows_of_a_candidate_holds_for_the_others():
    """Candidate 1 of the last slot is in no trial, and is predicted to be as bad there as it is elsewhere."""
    rng = np.random.default_rng(0)
    x = rng.integers(3, size=(60, SLOTS)).astype(float)
    x[:, -1] = rng.choice([0, 2], size=60)
    pool = np.array([[0, 2, 0, 1], [0, 2, 0, 0], [0, 2, 0, 2]], dtype=float)
    y = (x == 1).sum(axis=1) - 1.0
    together, alone = (
        PoolPosterior(fit_kernel(architecture_kernel(SLOTS, SLOTS, shared), x, y), pool, x).predict(y)[0]
        for shared in (3, 0)
    )
    assert together[0] > together[1:].max() + 0.5
    assert alone[0] < alone[1:].max() + 0.5


def test_labels_are_equal_for_equal_candidates_only():
    domain = Domain({"a": ("none", "x", 1), "b": ("x", "only b", "none"), "c": (True,)})
    assert domain.shared == 2
    a, b, c = domain.labels
    assert (a[0], a[1]) == (b[2], b[0])
    assert {a[0], a[1]} == {0, 1}
    assert len({*a, *b, *c}) == 5  # `True` is not 1


def test_long_ranges_of_numbers_share_nothing():
    numbers = tuple(range(500))
    assert Domain({"a": numbers, "b": numbers}).shared == 0


def test_a_fit_finds_the_slot_that_matters():
    x = rows(120, features=0)
    y = (x[:, 2] - 1.0) * 1.2
    decays = fit_kernel(architecture_kernel(SLOTS, SLOTS), x, y).k1.k2.decay
    assert np.argmax(decays) == 2
    assert decays[2] > 3 * np.delete(decays, 2).max()


@given(
    front=st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(-2, 1.9)), max_size=6),
    latency=st.floats(0.05, 1.2),
    mean=st.floats(-3, 3),
    deviation=st.floats(0.05, 2),
)
def test_the_expected_gain_is_the_mean_gain_of_many_draws(front, latency, mean, deviation):
    reference = (1.0, 2.0)
    directions = ("minimize", "minimize")
    members = sorted(front)
    kept = [one for place, one in enumerate(members) if all(one[1] < other[1] for other in members[:place])]
    points = np.array(kept).reshape(-1, 2)
    gain = expected_hypervolume_gain(np.array([latency]), np.array([mean]), np.array([deviation]), points, reference)
    before = hypervolume(points, reference, directions)
    # Quantiles instead of draws: exact to the width of a step, without noise.
    steps = (np.arange(400) + 0.5) / 400
    drawn = [
        hypervolume([*points, (latency, value)], reference, directions) for value in norm.ppf(steps, mean, deviation)
    ]
    assert gain[0] == pytest.approx(np.mean(drawn) - before, rel=0.02, abs=5e-3)


def test_improvement_that_is_certain_is_the_distance():
    assert expected_improvement(np.array([1.0]), np.array([1e-9]), 3.0)[0] == pytest.approx(2.0)
    assert expected_improvement(np.array([5.0]), np.array([1e-9]), 3.0)[0] == pytest.approx(0.0)


DOMAINS = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(
    lambda sizes: Domain({f"p{place}": tuple(f"v{value}" for value in range(size)) for place, size in enumerate(sizes)})
)


@given(domain=DOMAINS)
def test_every_combination_is_enumerated_once_and_comes_back_from_its_values(domain):
    codes = [tuple(row) for row in domain.enumerate().tolist()]
    expected = list(itertools.product(*(range(size) for size in domain.sizes.tolist())))
    assert codes == expected
    assert domain.count == len(codes)
    assert [domain.encode(domain.decode(code)) for code in codes] == codes


@given(domain=DOMAINS, seed=st.integers(0, 9))
def test_mutations_stay_inside_and_change_what_they_can(domain, seed):
    rng = np.random.default_rng(seed)
    parents = domain.sample(rng, 50)
    children = domain.mutate(parents, rng)
    assert ((children >= 0) & (children < domain.sizes)).all()
    changed = (children != parents).sum(axis=1)
    if (domain.sizes > 1).all():
        assert (changed >= 1).all()
    assert (changed <= (domain.sizes > 1).sum()).all()


def test_values_that_python_calls_equal_are_told_apart():
    domain = Domain({"x": (True, 1, "1")})
    assert [domain.encode({"x": value}) for value in (True, 1, "1", 2)] == [(0,), (1,), (2,), None]
    assert domain.encode({}) is None


@given(
    losses=st.lists(st.floats(-100, 100), min_size=2, max_size=30),
    factor=st.floats(0.01, 100),
    shift=st.floats(-100, 100),
)
def test_the_scale_of_losses_keeps_their_order_and_forgets_unit_and_zero(losses, factor, shift):
    values = np.array(losses).round(3)
    scale = LossScale.of(values)
    order = np.argsort(values, kind="stable")
    assert (np.diff(scale(values)[order]) >= -1e-9).all()
    assert np.isnan(scale(np.array([np.nan]))).all()
    if np.ptp(values) > 1e-2 and np.median(values) - values.min() > 1e-2:
        assert LossScale.of(values * factor + shift)(values * factor + shift) == pytest.approx(scale(values), abs=1e-4)
