"""The sampler as anyone's study sees it: Optuna's own conformance tests, and what it promises beyond them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState

from nas.errors import BudgetError, NasError
from nas.search import ParetoSampler, hypervolume

LAYERS = ("none", "conv", "attention", "both")
COST = {"none": 0.0, "conv": 1.0, "attention": 2.5, "both": 4.0}
WORTH = {"none": 0.0, "conv": 0.8, "attention": 1.0, "both": 1.5}


def slots(count: int) -> dict[str, CategoricalDistribution]:
    return {f"slot {number}": CategoricalDistribution(LAYERS) for number in range(count)}


def latency_ms(params) -> float:
    return 1.0 + sum(COST[name] * (1 + number / 3) for number, name in enumerate(params.values()))


def loss(params) -> float:
    """Layers help less and less from slot to slot, and neighbours that are alike help each other."""
    names = list(params.values())
    alone = sum(WORTH[name] * 0.8**number for number, name in enumerate(names))
    together = sum(0.3 for one, two in itertools.pairwise(names) if one == two != "none")
    return float(10 * np.exp(-0.4 * (alone + together)))


def study_of(sampler: BaseSampler, directions=("minimize", "minimize")) -> optuna.Study:
    return optuna.create_study(directions=list(directions), sampler=sampler)


def search(sampler: BaseSampler, space, trials: int, sign: float = 1.0) -> list[dict]:
    directions = ("minimize" if sign > 0 else "maximize", "minimize")
    study, proposed = study_of(sampler, directions), []
    for _ in range(trials):
        trial = study.ask(space)
        proposed.append(dict(trial.params))
        study.tell(trial, [sign * loss(trial.params), latency_ms(trial.params)])
    return proposed


def key(params) -> tuple:
    return tuple(params.values())


class TestConformance(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """All that Optuna asks of a sampler; parameters that are not finite are sampled at random."""

    pytestmark = pytest.mark.filterwarnings("ignore:ParetoSampler searches finite parameters")

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: ParetoSampler(lambda params: 1.0, seed=0)


def share(proposed: list[dict], space) -> float:
    """Of the true front's hypervolume."""
    every = [dict(zip(space, choices, strict=True)) for choices in itertools.product(LAYERS, repeat=len(space))]
    whole = np.array([[loss(one), latency_ms(one)] for one in every])
    reference = [float(np.median(whole[:, 0])), float(whole[:, 1].max())]
    found = np.array([[loss(one), latency_ms(one)] for one in proposed])
    directions = ("minimize", "minimize")
    return hypervolume(found, reference, directions) / hypervolume(whole, reference, directions)


@pytest.mark.slow
def test_it_comes_nearer_to_the_front_than_samplers_that_know_no_latency():
    space = slots(5)
    found = [
        share(search(ParetoSampler(latency_ms, search_space=space, seed=seed), space, 60), space) for seed in range(3)
    ]
    others = [optuna.samplers.NSGAIISampler, optuna.samplers.TPESampler, optuna.samplers.RandomSampler]
    best = max(share(search(other(seed=seed), space, 60), space) for other in others for seed in range(3))
    assert min(found) > 0.98
    assert min(found) > best


def test_either_direction_of_quality_is_searched_alike():
    space = slots(4)
    proposals = [
        search(ParetoSampler(latency_ms, search_space=space, reference=(20.0, sign * 4.0), seed=1), space, 40, sign)
        for sign in (1.0, -1.0)
    ]
    assert proposals[0] == proposals[1]


def test_nothing_worse_than_the_reference_is_sought():
    space = slots(4)
    sampler = ParetoSampler(latency_ms, search_space=space, reference=(6.0, 10.0), startup_trials=10, seed=0)
    assert max(latency_ms(params) for params in search(sampler, space, 30)[10:]) < 6.0


def test_either_objective_may_be_the_known_one():
    space = slots(4)
    study = study_of(ParetoSampler(latency_ms, search_space=space, latency_objective=0, seed=1))
    proposed = []
    for _ in range(40):
        trial = study.ask(space)
        proposed.append(dict(trial.params))
        study.tell(trial, [latency_ms(trial.params), loss(trial.params)])
    assert proposed == search(ParetoSampler(latency_ms, search_space=space, seed=1), space, 40)


def test_with_one_objective_it_seeks_the_best_quality():
    space = slots(5)
    study = optuna.create_study(sampler=ParetoSampler(lambda params: 1.0, search_space=space, seed=0))
    study.optimize(lambda trial: loss({name: trial.suggest_categorical(name, LAYERS) for name in space}), n_trials=45)
    assert study.best_value == min(
        loss(dict(zip(space, one, strict=True))) for one in itertools.product(LAYERS, repeat=5)
    )


def test_three_objectives_are_refused():
    space = slots(2)
    study = study_of(ParetoSampler(latency_ms, search_space=space), ("minimize",) * 3)
    with pytest.raises(ValueError, match="one or two objectives"):
        study.ask(space)


def test_nothing_is_proposed_twice_until_the_space_is_exhausted():
    space = slots(3)
    proposed = search(ParetoSampler(latency_ms, search_space=space, seed=0), space, 70)
    assert len({key(params) for params in proposed[:64]}) == 64


def test_it_begins_with_the_uniform_the_fastest_and_the_slowest():
    space = slots(5)
    proposed = search(ParetoSampler(latency_ms, search_space=space, seed=0), space, 20)
    first = {key(params) for params in proposed}
    assert {(name,) * 5 for name in LAYERS} <= first
    latencies = sorted(latency_ms(params) for params in proposed)
    # The rest is spread: no part of a fifth of the range is empty.
    assert {int(5 * (each - 1) / (latencies[-1] - 0.99)) for each in latencies} == set(range(5))


def test_workers_with_random_numbers_of_their_own_begin_with_one_spread_between_them():
    space = slots(5)
    study, latencies = study_of(ParetoSampler(latency_ms, search_space=space)), []
    samplers = [ParetoSampler(latency_ms, search_space=space, seed=seed) for seed in range(4)]
    for number in range(12):
        study.sampler = samplers[number % 4]
        trial = study.ask(space)
        latencies.append(latency_ms(trial.params))
        study.tell(trial, [loss(trial.params), latencies[-1]])
    every = sorted(latency_ms(dict(zip(space, one, strict=True))) for one in itertools.product(LAYERS, repeat=5))
    quarters = np.searchsorted(np.quantile(every, [0.25, 0.5, 0.75]), latencies)
    assert min(np.bincount(quarters, minlength=4)) >= 2


def test_the_latency_of_an_outlier_does_not_decide_where_the_search_looks():
    space, slow = slots(5), ("both", "both", "attention", "both", "both")

    def with_outlier(params) -> float:
        return 1e6 if key(params) == slow else latency_ms(params)

    proposed = search(ParetoSampler(with_outlier, search_space=space, seed=0), space, 40)
    assert share(proposed, space) > 0.98


def test_anchors_come_first():
    space = slots(5)
    wanted = {"slot 0": "conv", "slot 1": "none", "slot 2": "both", "slot 3": "none", "slot 4": "conv"}
    proposed = search(ParetoSampler(latency_ms, search_space=space, anchors=[wanted], seed=0), space, 1)
    assert proposed == [wanted]


def test_what_is_not_feasible_is_never_proposed():
    space = slots(4)
    within = [one for one in itertools.product(LAYERS, repeat=4) if one.count("attention") <= 1 and "both" not in one]
    sampler = ParetoSampler(latency_ms, search_space=space, feasible=lambda params: key(params) in within, seed=0)
    proposed = search(sampler, space, len(within))
    assert sorted(map(key, proposed)) == sorted(within)


def test_a_space_without_a_feasible_architecture_is_an_error():
    space = slots(3)
    study = study_of(ParetoSampler(latency_ms, search_space=space, feasible=lambda params: False))
    with pytest.raises(BudgetError, match="no architecture"):
        study.ask(space)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_is_none_is_an_error(value):
    space = slots(2)
    study = study_of(ParetoSampler(lambda params: value, search_space=space))
    with pytest.raises(NasError, match="the latency of"):
        study.ask(space)


def test_equal_architectures_are_proposed_once_and_in_their_fastest_form():
    space = slots(4)
    classes = {tuple(sorted(one)) for one in itertools.product(LAYERS, repeat=4)}
    sampler = ParetoSampler(latency_ms, search_space=space, key=lambda params: tuple(sorted(params.values())), seed=0)
    proposed = search(sampler, space, len(classes))
    assert {tuple(sorted(key(params))) for params in proposed} == classes
    for params in proposed:
        forms = itertools.permutations(params.values())
        assert latency_ms(params) == min(latency_ms(dict(zip(space, form, strict=True))) for form in forms)


def test_running_trials_are_not_proposed_again_and_count_as_expected():
    space = slots(4)
    study = study_of(ParetoSampler(latency_ms, search_space=space, seed=0))
    for _ in range(25):
        trial = study.ask(space)
        study.tell(trial, [loss(trial.params), latency_ms(trial.params)])
    running = [study.ask(space) for _ in range(8)]
    assert len({key(trial.params) for trial in running}) == 8
    for trial in running:
        study.tell(trial, [loss(trial.params), latency_ms(trial.params)])
    assert len({key(trial.params) for trial in study.get_trials()}) == 33


def test_the_smallest_spaces_are_searched_too():
    space = {"layer": CategoricalDistribution(("none", "conv"))}
    study = study_of(ParetoSampler(lambda params: 1.0 + COST[params["layer"]], search_space=space, seed=0))
    trials = [study.ask(space) for _ in range(3)]
    assert {trial.params["layer"] for trial in trials[:2]} == {"none", "conv"}
    for trial in trials:
        study.tell(trial, [-WORTH[trial.params["layer"]], 1.0 + COST[trial.params["layer"]]])
    study.ask(space)


def test_a_space_of_many_slots_with_one_choice_each_is_searched():
    """Of 80 slots, what a device cannot run may leave three with a choice."""
    space = {f"fixed {number}": CategoricalDistribution(("none",)) for number in range(77)} | slots(3)
    proposed = search(ParetoSampler(latency_ms, search_space=space, seed=0), space, 14)
    assert len(set(map(key, proposed))) == 14


def test_a_trial_is_running_from_its_first_parameter_to_its_last():
    space = slots(4)
    study = study_of(ParetoSampler(latency_ms, search_space=space, seed=0))
    for _ in range(20):
        half_way, params = study.ask(), {}
        for name in space:
            params[name] = half_way.suggest_categorical(name, LAYERS)
            other = study.ask(space)
            study.tell(other, [loss(other.params), latency_ms(other.params)])
        study.tell(half_way, [loss(params), latency_ms(params)])
    assert len({key(trial.params) for trial in study.trials}) == 100


def test_threads_of_one_study_propose_different_architectures():
    space = slots(5)
    study = study_of(ParetoSampler(latency_ms, search_space=space, seed=0))

    def objective(trial):
        params = {name: trial.suggest_categorical(name, LAYERS) for name in space}
        return loss(params), latency_ms(params)

    study.optimize(objective, n_trials=60, n_jobs=4)
    assert len({key(trial.params) for trial in study.trials}) == 60


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED])
def test_what_ended_without_a_result_is_not_proposed_again(state):
    space = slots(3)
    study = study_of(ParetoSampler(latency_ms, search_space=space, seed=0))
    lost = set()
    for number in range(64):
        trial = study.ask(space)
        if number % 3 == 0:
            lost.add(key(trial.params))
            study.tell(trial, state=state)
        else:
            study.tell(trial, [loss(trial.params), latency_ms(trial.params)])
    assert len(lost) == 22
    assert len({key(trial.params) for trial in study.trials}) == 64


@pytest.mark.slow
def test_equal_seeds_propose_equally_and_another_process_may_go_on(tmp_path):
    space = slots(5)
    one, two = (search(ParetoSampler(latency_ms, search_space=space, seed=3), space, 30) for _ in range(2))
    assert one == two
    url = f"sqlite:///{tmp_path}/study.db"
    for _ in range(3):
        sampler = ParetoSampler(latency_ms, search_space=space, seed=3)
        study = optuna.create_study(
            directions=["minimize"] * 2, sampler=sampler, storage=url, study_name="s", load_if_exists=True
        )
        for _ in range(12):
            trial = study.ask(space)
            study.tell(trial, [loss(trial.params), latency_ms(trial.params)])
    assert len({key(trial.params) for trial in study.trials}) == 36


def test_numbers_of_layers_are_parameters_like_any_other():
    space = {"layer": CategoricalDistribution(LAYERS), "count": IntDistribution(1, 4)}
    study = study_of(
        ParetoSampler(lambda params: 1.0 + COST[params["layer"]] * params["count"], search_space=space, seed=0)
    )
    for _ in range(16):
        trial = study.ask(space)
        study.tell(trial, [-WORTH[trial.params["layer"]] * trial.params["count"], 1.0])
    assert len({key(trial.params) for trial in study.trials}) == 16


def test_features_that_explain_the_quality_save_evaluations():
    space = slots(5)
    hidden = dict(zip(itertools.product(LAYERS, repeat=5), np.random.default_rng(0).normal(size=4**5), strict=True))

    def evaluated(features) -> float:
        sampler = ParetoSampler(lambda params: 1.0, search_space=space, features=features, seed=0)
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda trial: hidden[tuple(trial.suggest_categorical(name, LAYERS) for name in space)], n_trials=40
        )
        return study.best_value

    # Choices tell nothing of random numbers; a feature that is the number tells all.
    assert evaluated(lambda params: [3 * hidden[key(params)]]) == min(hidden.values()) < evaluated(None)


@pytest.mark.slow
def test_candidates_of_a_large_space_are_renewed_from_the_first_fit_on():
    """Two thousand random architectures hardly hold a good one of 10^12; mutations of the front do."""
    space, asked, after = slots(20), set(), []

    def counted(params):
        asked.add(key(params))
        return latency_ms(params)

    study = study_of(ParetoSampler(counted, search_space=space, seed=0))
    for _ in range(36):
        trial = study.ask(space)
        study.tell(trial, [loss(trial.params), latency_ms(trial.params)])
        after.append(len(asked))
    assert after[19] > after[11]
    assert after[27] > after[19]
    assert after[35] > after[27]
    points = [trial.values for trial in study.trials]
    random = [[loss(one), latency_ms(one)] for one in search(optuna.samplers.RandomSampler(seed=0), space, 2000)]
    volumes = [hypervolume(each, [10.0, 330.0], ("minimize", "minimize")) for each in (points, random)]
    assert volumes[0] > volumes[1]


def filled(space, within: float, seed: int) -> dict[str, str]:
    """Random layers in one slot after another, in random order, as long as the latency allows them."""
    rng, params = random.Random(seed), dict.fromkeys(space, "none")
    for name in rng.sample(list(space), len(space)):
        more = params | {name: rng.choice(space[name].choices)}
        params = more if latency_ms(more) <= within else params
    return params


def test_a_space_of_10_to_the_12_is_searched_within_its_constraints():
    space = slots(20)
    within = 30.0
    asked = set()

    def counted(params):
        asked.add(key(params))
        return latency_ms(params)

    sampler = ParetoSampler(
        counted,
        search_space=space,
        feasible=lambda params: latency_ms(params) <= within,
        seed=0,
        anchors=[dict.fromkeys(space, "none")],
    )
    study = study_of(sampler)
    for _ in range(80):
        trial = study.ask(space)
        study.tell(trial, [loss(trial.params), latency_ms(trial.params)])
    assert all(trial.values[1] <= within for trial in study.trials)
    assert len({key(trial.params) for trial in study.trials}) == 80
    assert len(asked) < 50_000
    # Of what it looked up it remembers what is a candidate or was tried, or memory would grow with every trial.
    (proposer,) = sampler._proposers.values()
    assert len(proposer.catalogue._facts) <= 2_000 + 80 + 1_300
    best = min(trial.values[0] for trial in study.trials)
    # Drawn from the whole space none would be within.
    assert best < 0.8 * min(loss(filled(space, within, seed)) for seed in range(1000))
