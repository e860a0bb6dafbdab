"""Samplers by name, as functions and as objects; what a study remembers of them."""

from __future__ import annotations

import optuna
import pytest

from nas.errors import ConfigError
from nas.files import parse
from nas.search import ExhaustiveSampler, SearchConfig, run_search
from nas.testing import SamplerConformance
from tests.search.formulas import FormulaLatency, PlainSpace, formula_loss, true_front

SPACE = PlainSpace()
LATENCY = FormulaLatency(SPACE)


class TestPareto(SamplerConformance):
    sampler = "pareto"
    options = {"startup_trials": 4}


class TestRandom(SamplerConformance):
    sampler = "random"


class TestNSGA2(SamplerConformance):
    sampler = "nsga2"
    options = {"population_size": 4}


class TestNSGA3(SamplerConformance):
    sampler = "nsga3"


class TestTPE(SamplerConformance):
    sampler = "tpe"
    options = {"n_startup_trials": 3}


class TestExhaustive(SamplerConformance):
    sampler = "exhaustive"


class Formula:
    name, direction, fingerprint = "formula loss", "minimize", ""

    def __init__(self):
        self.calls = []

    def score(self, architecture):
        self.calls.append(architecture.id)
        return formula_loss(architecture)


def run(storage, instance=None, **settings):
    quality = Formula()
    result = run_search(SPACE, LATENCY, quality, SearchConfig(**settings), storage, "study", sampler=instance)
    return result, quality.calls


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("kind", ["grid", "brute force"])
def test_any_sampler_of_optuna_searches_a_whole_space(tmp_path, kind):
    grid = {slot.id: list(slot.candidates) for slot in SPACE.slots}
    sampler = {
        "grid": lambda: optuna.samplers.GridSampler(grid, seed=0),
        "brute force": lambda: optuna.samplers.BruteForceSampler(seed=0),
    }[kind]()

    result, calls = run(tmp_path / "study.db", sampler, evaluations=100)

    assert sorted(calls) == sorted(member.id for member in SPACE.enumerate())
    assert {member.architecture.id for member in result.front} == true_front(SPACE, LATENCY)


def test_a_sampler_that_stops_the_study_ends_the_search(tmp_path):
    part = {"down.0/0": ["none"], "down.1/0": ["none", "conv1d"], "mid/0": ["none", "conv3d"]}

    result, calls = run(tmp_path / "study.db", optuna.samplers.GridSampler(part, seed=0), evaluations=100)

    proposed = {SPACE.architecture([a, b, c]).id for a in part["down.0/0"] for b in part["down.1/0"]
                for c in part["mid/0"]}  # fmt: skip
    assert proposed <= set(calls)
    assert "the sampler has no architecture left to propose" in result.reason


def test_exhaustive_search_follows_the_order_of_the_space_and_resumes_in_it(tmp_path):
    first = run(tmp_path / "study.db", sampler="exhaustive", evaluations=5)[1]
    rest = run(tmp_path / "study.db", sampler="exhaustive", evaluations=100)[1]

    assert first + rest == [member.id for member in SPACE.enumerate()]


def test_the_exhaustive_sampler_enumerates_any_finite_study():
    space = {"op": optuna.distributions.CategoricalDistribution(["a", "b", "c"]),
             "wide": optuna.distributions.CategoricalDistribution([True, False])}  # fmt: skip
    study = optuna.create_study(sampler=ExhaustiveSampler(space))

    study.optimize(lambda trial: len(trial.suggest_categorical("op", ["a", "b", "c"]))
                   + trial.suggest_categorical("wide", [True, False]), n_trials=100)  # fmt: skip

    pairs = [(trial.params["op"], trial.params["wide"]) for trial in study.trials]
    assert pairs == [(op, wide) for op in "abc" for wide in (True, False)]


def test_a_function_makes_the_sampler(tmp_path, monkeypatch):
    (tmp_path / "my_samplers.py").write_text(
        "import optuna\n"
        "def grid(objective, seed, last='conv3d'):\n"
        "    choices = {name: each.choices for name, each in objective.distributions.items()}\n"
        "    return optuna.samplers.GridSampler({**choices, 'mid/0': ['none', last]}, seed=seed)\n"
        "def none(objective, seed):\n"
        "    return None\n"
        "def broken(objective, seed):\n"
        "    return 1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    options = {"last": "self_attention_1d"}

    _, calls = run("study.db", sampler="my_samplers:grid", sampler_options=options, evaluations=100)

    asked_for = {one.id for one in SPACE.enumerate() if one.choices[2] in {"none", "self_attention_1d"}}
    assert asked_for <= set(calls)
    with pytest.raises(ConfigError, match=r"my_samplers:none returned None"):
        run("other.db", sampler="my_samplers:none")
    with pytest.raises(ConfigError, match=r"my_samplers:broken cannot be made: ZeroDivisionError: division by zero"):
        run("other.db", sampler="my_samplers:broken")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sampler": "nsga4"}, r"sampler: unknown sampler 'nsga4' \(known: pareto, random, nsga2"),
        ({"sampler": "no_such_module:make"}, "no module 'no_such_module'"),
        ({"sampler": "nsga2", "sampler_options": {"size": 4}}, "size"),
        ({"sampler": "nsga2", "sampler_options": {"population_size": 1}}, "population_size"),
        ({"sampler": "random", "sampler_options": {"seed": 1}}, "sampler random has no options, got seed"),
        ({"sampler": "math:sqrt", "sampler_options": {"x": 1}}, "cannot be called"),
    ],
)
def test_an_impossible_sampler_is_refused_when_the_settings_are_read(settings, words):
    with pytest.raises(ConfigError, match=words):
        parse(settings, SearchConfig, where="options")


def test_a_study_resumes_with_another_sampler(tmp_path):
    storage = tmp_path / "study.db"
    run(storage, sampler="nsga2", sampler_options={"population_size": 6}, evaluations=3)

    _, calls = run(storage, sampler="random", evaluations=5)

    assert len(calls) == 2


def test_settings_without_options_are_written_as_before():
    assert "sampler_options" not in SearchConfig().model_dump()
    assert SearchConfig.model_validate(SearchConfig(sampler="tpe").model_dump()) == SearchConfig(sampler="tpe")
