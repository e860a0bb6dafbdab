"""The search as its user sees it, on a problem whose answers are known."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import optuna
import pytest

from nas.errors import BudgetError, ConfigError, NasError
from nas.search import SearchConfig, load_front, load_study, run_search
from nas.space import Budgets, SearchSpace
from tests.search.problem import FormulaLatency, FormulaQuality, formula_loss, small_space, true_front

SPACE = small_space()
LATENCY = FormulaLatency(SPACE)
# Of all samplers, tests/search/test_samplers.py shows that they find everything within a budget, each once.
SAMPLERS = ["pareto", "nsga2"]


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


def run(storage, quality=None, *, space=SPACE, latency=LATENCY, name="study", cost=None, **settings):
    quality = quality or FormulaQuality()
    return run_search(space, latency, quality, SearchConfig(**settings), storage, name, cost=cost)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_whole_space_is_searched_once_and_its_front_is_the_true_one(storage, sampler):
    quality = FormulaQuality()

    result = run(storage, quality, sampler=sampler, evaluations=1000)

    assert sorted(quality.calls) == sorted(one.id for one in SPACE.enumerate())
    assert {member.architecture.id for member in result.front} == true_front(SPACE, LATENCY)
    assert result.reason == "all 24 architectures of the space are scored"
    assert result.scored == 24


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_budget_holds_for_everything_scored(storage, sampler):
    quality = FormulaQuality()

    result = run(storage, quality, sampler=sampler, evaluations=1000, budgets=Budgets(latency_ms=22))

    within = {one.id for one in SPACE.enumerate() if LATENCY.predict(one).pipeline_ms <= 22}
    assert sorted(quality.calls) == sorted(within)
    assert {member.architecture.id for member in result.front} == true_front(SPACE, LATENCY, 22)
    assert "within the budgets" in result.reason


def test_the_budgets_of_a_space_hold_where_the_search_names_none(storage):
    limited = SearchSpace.from_dict(SPACE.to_dict() | {"budgets": {"latency_ms": 22}})
    quality = FormulaQuality()

    run(storage, quality, space=limited, evaluations=1000)
    wider = run(storage, space=limited, name="wider", evaluations=1000, budgets=Budgets(latency_ms=1000))

    assert sorted(quality.calls) == sorted(
        one.id for one in SPACE.enumerate() if LATENCY.predict(one).pipeline_ms <= 22
    )
    assert wider.scored == SPACE.count()


def test_the_front_is_optunas_own(storage):
    run(storage, evaluations=12, budgets=Budgets(latency_ms=40))

    study = optuna.load_study(study_name="study", storage=storage)
    front = load_front(storage, "study")
    best = {trial.user_attrs["architecture"]["id"] for trial in study.best_trials}
    assert {member.architecture.id for member in front} == best
    assert all(value <= 0 for trial in study.best_trials for value in trial.constraints.values())
    assert [member.latency_ms for member in front] == sorted(member.latency_ms for member in front)
    assert study.metric_names == ["formula loss", "latency_ms"]


def test_members_carry_what_is_known_of_them(storage):
    front = run(storage, evaluations=12).front

    for member in front:
        assert member.quality == formula_loss(member.architecture)
        assert member.latency_ms == LATENCY.predict(member.architecture).pipeline_ms
        assert member.unet_ms == LATENCY.predict(member.architecture).unet_ms
        assert member.provenance == "measured"
        assert member.architecture == SPACE.check(member.architecture)


def test_a_repeated_proposal_is_told_what_is_known_and_does_not_count(storage):
    quality = FormulaQuality()

    result = run(storage, quality, sampler="nsga2", evaluations=18)

    trials = optuna.load_study(study_name="study", storage=storage).trials
    repeats = [trial for trial in trials if "duplicate_of" in trial.user_attrs]
    assert len(quality.calls) == len(set(quality.calls)) == 18
    assert len(repeats) == result.repeated > 0
    for trial in repeats:
        first = trials[trial.user_attrs["duplicate_of"]]
        assert (trial.params, trial.values) == (first.params, first.values)
        assert "duplicate_of" not in first.user_attrs


def test_the_search_begins_with_the_anchors(storage):
    quality = FormulaQuality()

    run(storage, quality, evaluations=2)

    assert quality.calls == [SPACE.smallest().id, SPACE.uniform("conv1d").id]


def test_an_anchor_over_the_budget_is_not_scored(storage):
    quality = FormulaQuality()

    run(storage, quality, evaluations=5, budgets=Budgets(latency_ms=15))

    assert SPACE.uniform("conv1d").id not in quality.calls


def test_equal_seeds_search_alike_and_others_do_not(tmp_path):
    calls = []
    for number, seed in enumerate([1, 1, 2]):
        quality = FormulaQuality()
        run(tmp_path / f"{number}.db", quality, evaluations=7, sampler="random", seed=seed)
        calls.append(quality.calls)

    assert calls[0] == calls[1] != calls[2]


def test_a_metric_to_maximise(storage):
    class Gain(FormulaQuality):
        name, direction = "gain", "maximize"

        def score(self, architecture):
            return -super().score(architecture)

    result = run(storage, Gain(), sampler="exhaustive")

    assert {member.architecture.id for member in result.front} == true_front(SPACE, LATENCY)
    assert result.front[-1].quality == max(member.quality for member in result.front)


def test_a_space_with_candidates_removed_is_searched_without_them(storage):
    smaller = SPACE.without({"mid/0": ["conv3d"], "down.1/0": ["none"]})
    latency, quality = FormulaLatency(smaller), FormulaQuality()

    result = run(storage, quality, space=smaller, latency=latency, evaluations=1000)

    left = {one.id for one in SPACE.enumerate() if one.choices[1] != "none" and one.choices[2] != "conv3d"}
    assert set(quality.calls) == left
    assert {member.architecture.id for member in result.front} == true_front(smaller, latency)


@pytest.mark.parametrize("first", ["all candidates", "fewer"])
def test_a_study_goes_on_only_with_the_same_set_of_candidates(storage, first):
    smaller = SPACE.without({"mid/0": ["conv3d"]})
    spaces = (SPACE, smaller) if first == "all candidates" else (smaller, SPACE)
    run(storage, space=spaces[0], latency=FormulaLatency(spaces[0]), evaluations=3)

    with pytest.raises(ConfigError, match="was made with another set of candidates"):
        run(storage, space=spaces[1], latency=FormulaLatency(spaces[1]), evaluations=6)

    assert run(storage, space=spaces[0], latency=FormulaLatency(spaces[0]), evaluations=6).scored == 3


def test_a_study_of_another_device_says_which_it_is(storage):
    class Elsewhere(FormulaLatency):
        def predict(self, architecture):
            return dataclasses.replace(super().predict(architecture), device="elsewhere")

    device = run(storage, evaluations=3).record.device

    with pytest.raises(ConfigError, match=f"was made with device {device} instead of elsewhere; use another"):
        run(storage, latency=Elsewhere(SPACE), evaluations=6)


# Ends


def test_patience_ends_a_search_that_finds_nothing_new(storage):
    result = run(storage, sampler="random", evaluations=24, patience=4)

    scored = result.record.evaluations
    assert len(scored) < 24
    assert max(member.trial for member in result.front) == scored[-5].trial
    assert result.reason == "the last 4 evaluations left the front unchanged"


def test_a_timeout_ends_the_run_but_not_the_evaluation_under_way(storage):
    result = run(storage, timeout_s=1e-9, evaluations=5)
    assert (result.scored, result.front) == (0, ())
    assert "time" in result.reason

    assert run(storage, evaluations=5).scored == 5


# Budgets


def test_a_latency_budget_nothing_can_meet_names_the_fastest_and_scores_nothing(storage, tmp_path):
    quality = FormulaQuality()
    fastest = SPACE.smallest()

    with pytest.raises(BudgetError, match=f"budget of 9.5 ms.*fastest is {fastest.id} .*none.* with 10 ms"):
        run(storage, quality, budgets=Budgets(latency_ms=9.5))

    assert quality.calls == []
    assert not (tmp_path / "study.db").exists()


def parameters(architecture):
    weights = {"none": 0, "conv1d": 300, "self_attention_1d": 700, "conv3d": 900}
    count = 5000 + sum(weights[name] for name in architecture.choices)
    return SimpleNamespace(parameters=count, peak_activation_bytes=10 * count)


def test_budgets_on_parameters_and_memory(storage):
    budgets = Budgets(parameters=5700, memory_bytes=56_500)

    result = run(storage, sampler="exhaustive", budgets=budgets, cost=parameters)

    assert {member.parameters for member in result.record.evaluations} == {5000, 5300, 5600}


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"parameters": 4999}, "smallest is .* with 5,000 parameters"),
        ({"memory_bytes": 9}, "leanest is .* with 50,000 bytes"),
    ],
)
def test_a_cost_budget_nothing_can_meet(storage, budget, words):
    with pytest.raises(BudgetError, match=words):
        run(storage, budgets=Budgets(**budget), cost=parameters)


def test_budgets_that_exclude_each_other_end_the_search_with_a_reason(storage):
    class Inverse(FormulaLatency):
        def predict(self, architecture):
            return type(super().predict(architecture))(100 - sum(map(len, architecture.choices)), 1.0)

        def fastest(self):
            return max(self.space.enumerate(), key=lambda one: sum(map(len, one.choices)))

    latency = Inverse(SPACE)
    least = latency.predict(latency.fastest()).pipeline_ms

    result = run(storage, latency=latency, budgets=Budgets(latency_ms=least, parameters=5000), cost=parameters)

    assert result.scored == 0
    assert "no architecture is left to score within the budgets" in result.reason


def test_a_cost_budget_without_a_cost_model(storage):
    with pytest.raises(ConfigError, match="parameters need a cost model"):
        run(storage, budgets=Budgets(parameters=10))


def test_a_latency_of_nothing_is_an_error(storage):
    with pytest.raises(NasError, match=r"0\.0 ms"):
        run(storage, latency=FormulaLatency(SPACE, scale=-0.25))


def test_a_latency_model_for_other_steps(storage):
    with pytest.raises(ConfigError, match=r"search\.steps is 8.*4 steps"):
        run(storage, steps=8)


# Failures


class Fragile(FormulaQuality):
    def __init__(self, fails):
        super().__init__()
        self.fails = fails

    def score(self, architecture):
        value = super().score(architecture)
        return self.fails(architecture, value)


def test_failed_evaluations_are_recorded_and_the_search_goes_on(storage):
    def fails(architecture, value):
        if "conv3d" in architecture.choices:
            raise RuntimeError("out of memory")
        return math.nan if "self_attention_1d" in architecture.choices else value

    quality = Fragile(fails)
    result = run(storage, quality, sampler="exhaustive", max_failures=100)

    assert len(quality.calls) == len(set(quality.calls)) == 24
    assert {name for one in result.record.evaluations for name in one.architecture.choices} == {"none", "conv1d"}
    assert result.record.failed == 24 - len(result.record.evaluations)
    failures = [trial for trial in optuna.load_study(study_name="study", storage=storage).trials
                if "failure" in trial.user_attrs]  # fmt: skip
    assert {trial.state.name for trial in failures} == {"FAIL"}
    assert {trial.user_attrs["failure"] for trial in failures} == {
        "RuntimeError: out of memory",
        "ArithmeticError: formula loss is nan",
    }


def test_too_many_failures_in_a_row_end_the_search(storage):
    def fails(architecture, value):
        raise KeyError("weights")

    quality = Fragile(fails)
    with pytest.raises(NasError, match=r"3 evaluations in a row failed.*KeyError.*weights"):
        run(storage, quality, max_failures=3)

    assert len(quality.calls) == 3
    assert load_study(storage, "study").failed == 3


def test_a_users_mistake_in_scoring_is_raised_at_once_and_can_be_mended(storage):
    def fails(architecture, value):
        raise ConfigError("no such clips", where="data")

    with pytest.raises(ConfigError, match="no such clips"):
        run(storage, Fragile(fails))

    quality = FormulaQuality()
    run(storage, quality, evaluations=3)
    assert quality.calls[0] == SPACE.smallest().id
    assert load_study(storage, "study").failed == 0


def test_a_space_of_one_architecture(storage):
    space = small_space(slots=[{"stage": "mid", "candidates": ["none"]}])

    result = run(storage, space=space, latency=FormulaLatency(space))

    assert [member.architecture for member in result.front] == [space.smallest()]
