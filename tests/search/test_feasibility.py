"""Budgets in spaces where hardly anything is within them, and failures that belong to one architecture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from nas.errors import BudgetError, ConfigError, NasError, OutOfMemoryError, TrainingError
from nas.quality import FunctionQuality
from nas.search import ChoiceSpace, ParetoSampler, SearchConfig, SumLatency, TableLatency, rescore, run_search
from nas.space import Architecture, Budgets

SIZES = {"big": 1000, "mid": 100, "tiny": 1}


@dataclass(frozen=True)
class Cost:
    parameters: int
    peak_activation_bytes: int


def space_of(slots: int) -> ChoiceSpace:
    return ChoiceSpace({f"slot {number}": list(SIZES) for number in range(slots)}, name="sizes")


def latency_of(space: ChoiceSpace) -> SumLatency:
    cost = {"big": 1.0, "mid": 2.0, "tiny": 3.0}  # the fastest one is over every other budget
    return SumLatency(space, {slot.id: cost for slot in space.slots},
                      provenance="estimated", device="none", runtime="none")  # fmt: skip


def cost(architecture: Architecture) -> Cost:
    sizes = [SIZES[one] for one in architecture.choices]
    return Cost(sum(sizes), max(sizes))


def quality(function=lambda one: -float(sum(SIZES[each] for each in one.choices))) -> FunctionQuality:
    return FunctionQuality(function, direction="minimize", name="formula")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("budgets", [Budgets(parameters=1200), Budgets(memory_bytes=150)])
def test_hardly_anything_of_a_large_space_is_within_the_budget(tmp_path: Path, seed: int, budgets: Budgets) -> None:
    space = space_of(25)
    config = SearchConfig(evaluations=16, seed=seed, budgets=budgets)
    result = run_search(space, latency_of(space), quality(), config, tmp_path / "study.db", "one", cost=cost)
    assert result.scored == 16
    assert all(one.feasible for one in result.record.evaluations)


def test_the_leanest_architecture_is_found_where_other_slots_hide_it(tmp_path: Path) -> None:
    space = space_of(2)
    arguments = (space, latency_of(space), quality())
    config = SearchConfig(budgets=Budgets(memory_bytes=50))
    found = run_search(*arguments, config, tmp_path / "study.db", "one", cost=cost)
    assert [one.architecture.choices for one in found.record.evaluations] == [("tiny", "tiny")]


def test_the_hint_of_a_budget_is_one_that_can_be_met(tmp_path: Path) -> None:
    space = ChoiceSpace({"slot": ["one", "two"]}, name="two")
    latency = SumLatency(space, {"slot": {"one": 38.6088493, "two": 40.0}},
                         provenance="measured", device="d", runtime="r")  # fmt: skip
    arguments = (space, latency, FunctionQuality(lambda one: 1.0, direction="minimize", name="formula"))
    with pytest.raises(BudgetError, match=r"raise the budget to 38\.609 ms"):
        run_search(*arguments, SearchConfig(budgets=Budgets(latency_ms=38.6088)), tmp_path / "study.db", "one")
    config = SearchConfig(budgets=Budgets(latency_ms=38.609))
    assert run_search(*arguments, config, tmp_path / "study.db", "two").scored == 1


@pytest.mark.parametrize("kind", [TrainingError, OutOfMemoryError])
def test_training_that_fails_fails_one_architecture(tmp_path: Path, kind: type[NasError]) -> None:
    space = space_of(3)

    def diverging(architecture: Architecture) -> float:
        if architecture.choices[0] == "mid":
            raise kind("loss is nan at step 3; training diverged")
        return cost(architecture).parameters

    arguments = (space, latency_of(space), quality(diverging))
    result = run_search(*arguments, SearchConfig(sampler="exhaustive", max_failures=20), tmp_path / "study.db", "one")
    assert (len(result.record.evaluations), result.record.failed) == (18, 9)
    rescored = rescore(tmp_path / "study.db", "one", quality(diverging), members=18)
    assert rescored.scored == 18


def test_a_mistake_ends_the_search(tmp_path: Path) -> None:
    def mistaken(architecture: Architecture) -> float:
        raise ConfigError("no such file")

    space = space_of(2)
    with pytest.raises(ConfigError, match="no such file"):
        run_search(space, latency_of(space), quality(mistaken), SearchConfig(), tmp_path / "study.db", "one")


def test_a_study_goes_on_only_with_every_row_of_its_table(tmp_path: Path) -> None:
    space = space_of(3)
    figures = {one.choices: 1.0 + number for number, one in enumerate(space.enumerate())}
    say = {"provenance": "measured", "device": "d", "runtime": "r"}
    config = SearchConfig(evaluations=3, sampler="random")
    run_search(space, TableLatency(space, figures, **say), quality(), config, tmp_path / "study.db", "one")
    for choices in figures:
        changed = TableLatency(space, figures | {choices: 0.5}, **say)
        with pytest.raises(ConfigError, match="another latency table"):
            run_search(space, changed, quality(), config, tmp_path / "study.db", "one")
        if choices[0] != "big":
            break


@pytest.mark.parametrize("directions", [["minimize"], ["maximize", "minimize"], ["minimize", "maximize"]])
def test_a_study_that_somebody_else_made_must_have_the_objectives_of_a_search(
    tmp_path: Path, directions: list[str]
) -> None:
    space, path = space_of(2), tmp_path / "study.db"
    optuna.create_study(study_name="one", storage=f"sqlite:///{path}", directions=directions)
    with pytest.raises(ConfigError, match="a search needs minimize, minimize; use another study name"):
        run_search(space, latency_of(space), quality(), SearchConfig(evaluations=2), path, "one")


def test_the_known_objective_is_minimised() -> None:
    space = {"op": optuna.distributions.CategoricalDistribution(["a", "b"])}
    sampler = ParetoSampler(lambda params: 1.0, search_space=space)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    with pytest.raises(ValueError, match=r"objective 1 is the known one.*minimised"):
        study.ask(space)
    with pytest.raises(ValueError, match="latency_objective is 0 or 1, got 2"):
        ParetoSampler(lambda params: 1.0, latency_objective=2)


def test_the_fastest_the_slowest_and_a_spread_begin_also_where_uniform_ones_are_many() -> None:
    values = list(range(30))
    space = {name: optuna.distributions.CategoricalDistribution(values) for name in ("a", "b", "c")}

    def known(params) -> float:
        return 1.0 + sum(params.values())

    study = optuna.create_study(directions=["minimize", "minimize"],
                                sampler=ParetoSampler(known, search_space=space, seed=0))  # fmt: skip
    seen = []
    for _ in range(20):
        trial = study.ask(space)
        seen.append(known(trial.params))
        study.tell(trial, [float(trial.number), seen[-1]])
    assert (min(seen), max(seen)) == (1.0, 88.0)
