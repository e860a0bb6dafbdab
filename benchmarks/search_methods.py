"""Ways to search a tabular problem, each as a function from problem, seed and evaluations to the rows in their order.

Only distinct architectures count as evaluations. Optuna's own samplers propose some again. A repeat gets its known
values and costs nothing, as in `nas search`. After `MOST_REPEATS` in a row, a random new architecture is evaluated.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from benchmarks.nasbench201 import Choices, PathFeatures, TabularProblem
from nas.search import ParetoSampler
from nas.search.samplers.builtin import POPULATION

MOST_REPEATS = 50
KNOWN_PATHS = "ParetoSampler, paths"


@dataclass
class Run:
    """What a search did.

    Args:
        rows: Rows of the table in the order of their evaluation.
        seconds: Time to propose and tell each evaluation, including repeats before it.
    """

    rows: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


Method = Callable[[TabularProblem, int, int], Run]


def with_optuna(make: Callable[[TabularProblem, int], BaseSampler]) -> Method:
    """A search by a sampler of Optuna."""

    def search(problem: TabularProblem, seed: int, evaluations: int) -> Run:
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=make(problem, seed))
        slots: dict[str, BaseDistribution] = dict(problem.slots)
        run, rng, repeats, began = Run(), np.random.default_rng(seed), 0, time.perf_counter()
        while len(run.rows) < evaluations:
            if repeats > MOST_REPEATS:
                study.enqueue_trial(_fresh(problem, run, rng))
            trial = study.ask(slots)
            row = problem.row(trial.params)
            if row is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                repeats += 1
                continue
            study.tell(trial, [problem.error_percent[row], problem.latency_ms[row]])
            repeats = repeats + 1 if row in run.rows else 0
            if not repeats:
                run.rows.append(row)
                run.seconds.append(time.perf_counter() - began)
                began = time.perf_counter()
        return run

    return search


def with_pymoo(problem: TabularProblem, seed: int, evaluations: int) -> Run:
    """A search by pymoo's NSGA-II, uniform crossover, whose duplicate elimination is left on."""
    names = list(problem.slots)
    operations = [distribution.choices for distribution in problem.slots.values()]
    top = [len(offered) - 1 for offered in operations]
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),
        mutation=PolynomialMutation(prob=1.0, prob_var=1 / len(names), eta=1.0, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    space = PymooProblem(n_var=len(names), n_obj=2, xl=np.zeros(len(names)), xu=np.array(top), vtype=int)
    algorithm.setup(space, termination=("n_gen", 100 * evaluations), seed=seed, verbose=False)
    run, began = Run(), time.perf_counter()
    while len(run.rows) < evaluations and algorithm.has_next():
        population = algorithm.ask()
        for member in population:
            pairs = zip(names, operations, member.X, strict=True)
            params = {name: offered[round(value)] for name, offered, value in pairs}
            row = problem.row(params)
            if row is None:
                member.F = np.full(2, 1e9)
                continue
            member.F = np.array([problem.error_percent[row], problem.latency_ms[row]])
            if row not in run.rows and len(run.rows) < evaluations:
                run.rows.append(row)
                run.seconds.append(time.perf_counter() - began)
                began = time.perf_counter()
        algorithm.tell(infills=population)
    return run


def _pareto(problem: TabularProblem, seed: int, features: Callable[[Choices], list[float]] | None) -> ParetoSampler:
    def latency_ms(params: Any) -> float:
        return float(problem.latency_ms[problem.rows[problem.choices(params)]])

    return ParetoSampler(
        latency_ms,
        search_space=problem.slots,
        feasible=lambda params: problem.row(params) is not None,
        features=None if features is None else lambda params: features(problem.choices(params)),
        seed=seed,
    )


def _with_paths(problem: TabularProblem, seed: int) -> ParetoSampler:
    return _pareto(problem, seed, PathFeatures(problem))


def _tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(multivariate=True, seed=seed)


def _fresh(problem: TabularProblem, run: Run, rng: np.random.Generator) -> dict[str, Any]:
    done = set(run.rows)
    left = [choices for choices, row in problem.rows.items() if row not in done]
    return dict(zip(problem.slots, left[int(rng.integers(len(left)))], strict=True))


METHODS: dict[str, Method] = {
    KNOWN_PATHS: with_optuna(_with_paths),
    "ParetoSampler": with_optuna(lambda problem, seed: _pareto(problem, seed, None)),
    "random (Optuna)": with_optuna(lambda _, seed: RandomSampler(seed=seed)),
    "NSGA-II (Optuna)": with_optuna(lambda _, seed: NSGAIISampler(population_size=POPULATION, seed=seed)),
    "TPE (Optuna)": with_optuna(lambda _, seed: _tpe(seed)),
    "NSGA-II (pymoo)": with_pymoo,
}
