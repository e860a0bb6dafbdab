"""Ways to search a tabular problem, each as a function from problem, seed and evaluations to the rows in their order.

Only distinct architectures count as evaluations. Optuna's own samplers propose some again. A repeat gets its known
values and costs nothing, as in `nas search`. After `MOST_REPEATS` in a row, a random new architecture is evaluated.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from benchmarks.nasbench201 import CellProblem, PathFeatures
from benchmarks.tabular import Choices, DataError, TabularProblem
from nas.search import ParetoSampler, TableLatency
from nas.search.objective import Objective
from nas.search.proposals import anchors
from nas.search.samplers.builtin import POPULATION, Pareto
from nas.space import Architecture, Budgets, SearchSpace

MOST_REPEATS = 50
POOL = 128
DEFAULT, KNOWN_PATHS, BOTORCH = "nas search", "nas search, told the paths", "qLogNEHVI (BoTorch)"


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


def with_optuna(make: Callable[[TabularProblem, int], BaseSampler], first: Sequence[dict[str, str]] = ()) -> Method:
    """A search by a sampler of Optuna, after some architectures that are evaluated first."""

    def search(problem: TabularProblem, seed: int, evaluations: int) -> Run:
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=make(problem, seed))
        slots: dict[str, BaseDistribution] = dict(problem.slots)
        for params in first:
            study.enqueue_trial(params)
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
            study.tell(trial, [problem.loss[row], problem.latency_ms[row]])
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
            member.F = np.array([problem.loss[row], problem.latency_ms[row]])
            if row not in run.rows and len(run.rows) < evaluations:
                run.rows.append(row)
                run.seconds.append(time.perf_counter() - began)
                began = time.perf_counter()
        algorithm.tell(infills=population)
    return run


def evolution(problem: TabularProblem, seed: int, evaluations: int) -> Run:
    """An evolutionary search under latency limits, as the search of SnapGen-V is described (arXiv 2412.10494).

    The paper gives no operators. Each child gets a latency limit, drawn uniformly between the fastest and the slowest
    architecture. Its parents win tournaments among the evaluated architectures within the limit. Crossover is uniform,
    each slot mutates with a probability of one over the number of slots, and a child over its limit is dropped.
    """
    rng, run, began = np.random.default_rng(seed), Run(), time.perf_counter()
    all_choices = list(problem.rows)
    fastest, slowest = problem.latency_ms.min(), problem.latency_ms.max()
    while len(run.rows) < evaluations:
        limit_ms = rng.uniform(fastest, slowest)
        within = [row for row in run.rows if problem.latency_ms[row] <= limit_ms]
        if len(run.rows) < POPULATION or len(within) < 2:
            row = problem.rows[all_choices[int(rng.integers(len(all_choices)))]]
        else:
            row = _child(problem, within, limit_ms, rng)
        if row is not None and row not in run.rows:
            run.rows.append(row)
            run.seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
    return run


def _child(problem: TabularProblem, within: list[int], limit_ms: float, rng: np.random.Generator) -> int | None:
    """The row of a child of two of the rows; `None` if it is over the limit or in no row."""
    by_row = problem.by_row
    parents = [by_row[min(rng.choice(within, size=4), key=lambda row: problem.loss[row])] for _ in range(2)]
    slots = list(problem.candidates.values())
    chosen = [pair[int(rng.integers(2))] for pair in zip(*parents, strict=True)]
    mutated = [
        offered[int(rng.integers(len(offered)))] if rng.random() < 1 / len(slots) else choice
        for offered, choice in zip(slots, chosen, strict=True)
    ]
    row = problem.rows.get(tuple(mutated))
    return row if row is not None and problem.latency_ms[row] <= limit_ms else None


def with_botorch(problem: TabularProblem, seed: int, evaluations: int) -> Run:
    """BoTorch's noisy expected hypervolume improvement (qLogNEHVI) over two Gaussian processes of one-hot choices.

    The best of `POOL` random architectures that are not evaluated yet comes next, after `POPULATION` random ones.
    """
    import torch
    from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.sampling import SobolQMCNormalSampler
    from gpytorch.mlls import SumMarginalLogLikelihood

    torch.manual_seed(seed)
    rng, run, began = np.random.default_rng(seed), Run(), time.perf_counter()
    inputs = torch.tensor(problem.one_hot, dtype=torch.float64)
    values = -torch.tensor(np.column_stack([problem.latency_ms, problem.loss]))
    while len(run.rows) < evaluations:
        left = np.setdiff1d(np.arange(len(inputs)), run.rows)
        pool = rng.choice(left, size=min(POOL, len(left)), replace=False)
        if len(run.rows) < POPULATION:
            row = int(pool[0])
        else:
            seen, known = inputs[run.rows], values[run.rows]
            model = ModelListGP(
                *(SingleTaskGP(seen, known[:, [column]], outcome_transform=Standardize(1)) for column in (0, 1))
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit_gpytorch_mll(
                    SumMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs={"options": {"maxiter": 50}}
                )
            reference = [-float(number) for number in problem.reference]
            sampler = SobolQMCNormalSampler(torch.Size([64]), seed=seed)
            gain = qLogNoisyExpectedHypervolumeImprovement(model, reference, seen, sampler=sampler, prune_baseline=True)
            with torch.no_grad():
                row = int(pool[int(gain(inputs[pool][:, None]).argmax())])
        run.rows.append(row)
        run.seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return run


def nas_search(problem: TabularProblem, seed: int, evaluations: int) -> Run:
    """ParetoSampler as `nas search` makes it, after the architectures that `nas search` scores first."""
    if problem.space is None:
        return with_optuna(lambda problem, seed: _pareto(problem, seed, None))(problem, seed, evaluations)
    objective = _objective(problem.space, problem)
    return with_optuna(
        lambda _, seed: Pareto(Pareto.Config()).make(objective, seed),
        first=[objective.params(architecture) for architecture in anchors(objective)],
    )(problem, seed, evaluations)


def _objective(space: SearchSpace, problem: TabularProblem) -> Objective:
    from nas.quality import FunctionQuality  # with all of torch, which cells do not need

    latencies = {choices: float(problem.latency_ms[row]) for choices, row in problem.rows.items()}
    latency = TableLatency(space, latencies, provenance="measured", device="of the table", runtime="of the table")

    def loss(architecture: Architecture) -> float:
        return float(problem.loss[problem.rows[architecture.choices]])

    quality = FunctionQuality(loss, direction="minimize", name="the table's loss")
    return Objective(space, latency, quality, Budgets(), None)


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
    if not isinstance(problem, CellProblem):
        raise DataError(f"{KNOWN_PATHS}: only cells have paths; leave this method out")
    return _pareto(problem, seed, PathFeatures(problem))


def experimental(make: Callable[..., BaseSampler], **options: Any) -> BaseSampler:
    """A sampler of Optuna that warns that it may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return make(**options)


def _fresh(problem: TabularProblem, run: Run, rng: np.random.Generator) -> dict[str, Any]:
    done = set(run.rows)
    left = [choices for choices, row in problem.rows.items() if row not in done]
    return dict(zip(problem.slots, left[int(rng.integers(len(left)))], strict=True))


METHODS: dict[str, Method] = {
    DEFAULT: nas_search,
    KNOWN_PATHS: with_optuna(_with_paths),
    "GP (Optuna)": with_optuna(lambda _, seed: experimental(GPSampler, seed=seed, deterministic_objective=True)),
    "TPE (Optuna)": with_optuna(lambda _, seed: experimental(TPESampler, multivariate=True, seed=seed)),
    "NSGA-II (Optuna)": with_optuna(lambda _, seed: NSGAIISampler(population_size=POPULATION, seed=seed)),
    "NSGA-III (Optuna)": with_optuna(
        lambda _, seed: experimental(NSGAIIISampler, population_size=POPULATION, seed=seed)
    ),
    "random (Optuna)": with_optuna(lambda _, seed: RandomSampler(seed=seed)),
    "NSGA-II (pymoo)": with_pymoo,
    BOTORCH: with_botorch,
    "evolution under limits": evolution,
}
