"""Which model of quality ranks cells best, from what a search has seen of them.

    python benchmarks/search_surrogates.py --data FILE --accuracy COLUMN --latency COLUMN [--evaluations 50,100,200]
        [--seeds 1] [--workers 1] [--json]

FILE, --accuracy and --latency are as for `search_efficiency.py`. A search by ParetoSampler evaluates cells; each model
learns from the first N of them, and predicts all others. It prints Spearman's rank correlations with their
true errors: of all of them, and of the better quarter, which is what a search has to tell apart. All models see the
same: choices (one-hot but for the process) and paths through a cell. The process is the sampler's own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import optuna
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor

from benchmarks.nasbench201 import CellProblem, PathFeatures, load_problem
from benchmarks.search_methods import KNOWN_PATHS, METHODS
from benchmarks.tabular import DataError, in_processes
from nas.search.pareto_sampler.kernel import architecture_kernel
from nas.search.pareto_sampler.scaling import LossScale
from nas.search.pareto_sampler.surrogate import PoolPosterior, fit_kernel

Floats = NDArray[np.float64]
Model = Callable[[Floats, Floats, Floats, int], Floats]
"""From rows and losses of trials, rows of candidates and the number of slots to the candidates' expected losses."""


def process(rows_TC: Floats, loss_T: Floats, candidates_NC: Floats, slots: int) -> Floats:
    """The Gaussian process of the sampler."""
    shared = int(rows_TC[:, :slots].max()) + 1  # each edge offers every operation
    kernel = fit_kernel(architecture_kernel(slots, rows_TC.shape[1], shared), rows_TC, loss_T)
    return PoolPosterior(kernel, candidates_NC, rows_TC).predict(loss_T)[0]


def of_scikit_learn(make: Callable[[], RandomForestRegressor | GradientBoostingRegressor]) -> Model:
    """A regressor on one-hot choices and features."""

    def predict(rows_TC: Floats, loss_T: Floats, candidates_NC: Floats, slots: int) -> Floats:
        fitted = make().fit(_one_hot(rows_TC, slots), loss_T)
        return np.asarray(fitted.predict(_one_hot(candidates_NC, slots)))

    return predict


def ensemble(*models: Model) -> Model:
    """The mean of what several expect."""
    return lambda *given: np.mean([model(*given) for model in models], axis=0)


FOREST = of_scikit_learn(lambda: RandomForestRegressor(300, max_features=0.5, random_state=0))
MODELS: dict[str, Model] = {
    "Gaussian process": process,
    "random forest": FOREST,
    "extra trees": of_scikit_learn(lambda: ExtraTreesRegressor(300, max_features=0.5, random_state=0)),
    "gradient boosting": of_scikit_learn(lambda: GradientBoostingRegressor(n_estimators=200, random_state=0)),
    "process and forest": ensemble(process, FOREST),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--accuracy", action="append", required=True)
    parser.add_argument("--latency", action="append", required=True)
    parser.add_argument("--evaluations", type=lambda text: sorted(map(int, text.split(","))), default=[50, 100, 200])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        problems = [load_problem(options.data, *pair) for pair in product(options.accuracy, options.latency)]
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    jobs = list(product(problems, range(options.seeds), [options.evaluations]))
    correlations = np.array(in_processes(_compare, jobs, options.workers)).mean(axis=0)
    report = {
        name: {
            "all": correlations[row, :, 0].round(4).tolist(),
            "better_quarter": correlations[row, :, 1].round(4).tolist(),
        }
        for row, name in enumerate(MODELS)
    }
    if options.json:
        sys.stdout.write(json.dumps({"evaluations": options.evaluations, "spearman": report}, indent=2) + "\n")
        return
    title = f"Spearman of all, of the better quarter; mean of {len(problems)} problems, {options.seeds} seeds"
    table = Table("model", *map(str, options.evaluations), title=title, title_justify="left")
    for name, row in report.items():
        table.add_row(
            name, *(f"{everything:.3f}, {better:.3f}" for everything, better in zip(*row.values(), strict=True))
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _compare(problem: CellProblem, seed: int, evaluations: list[int]) -> list[list[tuple[float, float]]]:
    """By model and number of evaluations, both correlations."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    visited = METHODS[KNOWN_PATHS](problem, seed, max(evaluations)).rows
    rows_NC, slots = _rows(problem), len(problem.slots)
    return [
        [_correlations(model, problem.loss, rows_NC, np.array(visited[:count]), slots) for count in evaluations]
        for model in MODELS.values()
    ]


def _correlations(model: Model, error_N: Floats, rows_NC: Floats, seen: Floats, slots: int) -> tuple[float, float]:
    others = np.setdiff1d(np.arange(len(error_N)), seen)
    scaled = LossScale.of(error_N[seen])(error_N[seen])
    expected, true = model(rows_NC[seen], scaled, rows_NC[others], slots), error_N[others]
    good = true <= np.quantile(true, 0.25)
    return float(spearmanr(expected, true).statistic), float(spearmanr(expected[good], true[good]).statistic)


def _rows(problem: CellProblem) -> Floats:
    features, operations = PathFeatures(problem), next(iter(problem.candidates.values()))
    by_row = {
        row: [*(operations.index(name) for name in choices), *features(choices)]
        for choices, row in problem.rows.items()
    }
    return np.array([by_row[row] for row in range(len(by_row))], dtype=np.float64)


def _one_hot(rows_NC: Floats, slots: int) -> Floats:
    chosen_NS, features = rows_NC[:, :slots], rows_NC[:, slots:]
    return np.hstack([(chosen_NS[:, :, None] == np.arange(chosen_NS.max() + 1)).reshape(len(rows_NC), -1), features])


if __name__ == "__main__":
    main()
