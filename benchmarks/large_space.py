"""How fast samplers approach the front of a space of 4^20 architectures, which nobody can walk.

    python benchmarks/large_space.py [--seeds 4] [--evaluations 50,100,200] [--json]

Quality and latency are made up: sums over the slots, of which quality is squeezed, so that layers help less and less.
Therefore the true front is known. It prints the share of its hypervolume after a number of evaluations, mean and spread
over the seeds, and the mean time of a proposal. The reference point is the slowest architecture's latency, and the
median loss of random architectures. `ParetoSampler` knows the latencies; the others learn them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from benchmarks.printing import print_rows
from benchmarks.search_methods import experimental
from nas.search import ParetoSampler, hypervolume
from nas.search.samplers.builtin import POPULATION

SLOTS, CANDIDATES = 20, 4
LOWER_IS_BETTER = ("minimize", "minimize")
Params = Mapping[str, Any]


@dataclass(frozen=True)
class LargeProblem:
    """A made-up problem of 4^20 architectures.

    Args:
        cost_SC: Milliseconds of each candidate of each slot.
        worth_SC: What each candidate of each slot adds to the quality, before it is squeezed.
    """

    cost_SC: NDArray[np.float64]
    worth_SC: NDArray[np.float64]

    @classmethod
    def of(cls, seed: int) -> LargeProblem:
        """A problem of random numbers. Costs are whole hundredths of a millisecond, which keeps the front short."""
        rng = np.random.default_rng(seed)
        return cls(rng.integers(10, 100, (SLOTS, CANDIDATES)) / 100, rng.normal(size=(SLOTS, CANDIDATES)))

    @cached_property
    def slots(self) -> dict[str, BaseDistribution]:
        """The space as Optuna sees it."""
        return {f"slot {number}": CategoricalDistribution(range(CANDIDATES)) for number in range(len(self.cost_SC))}

    def latency_ms(self, params: Params) -> float:
        """Latency of an architecture."""
        return self._total(self.cost_SC, params)

    def loss(self, params: Params) -> float:
        """Loss of an architecture."""
        return squeezed(self._total(self.worth_SC, params))

    def _total(self, table_SC: NDArray[np.float64], params: Params) -> float:
        return float(sum(row[params[name]] for name, row in zip(self.slots, table_SC, strict=True)))

    @cached_property
    def reference(self) -> tuple[float, float]:
        """Latency and loss of the reference point."""
        rng = np.random.default_rng(0)
        drawn = rng.integers(CANDIDATES, size=(1000, len(self.slots)))
        losses = [squeezed(float(self.worth_SC[np.arange(len(row)), row].sum())) for row in drawn]
        return float(self.cost_SC.max(axis=1).sum()), float(np.median(losses))

    @cached_property
    def front(self) -> NDArray[np.float64]:
        """The true front, shape (members, 2): the sums of which no other one costs as little and is worth as much."""
        sums = np.zeros((1, 2))
        for cost_C, worth_C in zip(self.cost_SC, self.worth_SC, strict=True):
            both = (sums[:, None] + np.stack([cost_C, -worth_C], axis=1)).reshape(-1, 2)
            both = both[np.lexsort((both[:, 1], both[:, 0]))]
            best_before = np.minimum.accumulate(np.concatenate([[np.inf], both[:-1, 1]]))
            sums = both[both[:, 1] < best_before]
        return np.column_stack([sums[:, 0], [squeezed(-negative) for negative in sums[:, 1]]])

    def share(self, points: Sequence[tuple[float, float]]) -> float:
        """The share of the true front's hypervolume that some points have."""
        of_all = hypervolume(self.front, self.reference, LOWER_IS_BETTER)
        return hypervolume(np.array(points), self.reference, LOWER_IS_BETTER) / of_all


def squeezed(worth: float) -> float:
    """The loss of a sum: the same order, and the more worth, the less one more layer changes."""
    return float(np.exp(-worth / 10))


def _pareto(problem: LargeProblem, seed: int) -> BaseSampler:
    return ParetoSampler(problem.latency_ms, search_space=problem.slots, latency_objective=0, seed=seed)


METHODS: dict[str, Callable[[LargeProblem, int], BaseSampler]] = {
    "ParetoSampler": _pareto,
    "TPE (Optuna)": lambda _, seed: experimental(TPESampler, multivariate=True, seed=seed),
    "NSGA-II (Optuna)": lambda _, seed: NSGAIISampler(population_size=POPULATION, seed=seed),
    "random (Optuna)": lambda _, seed: RandomSampler(seed=seed),
}


def searched(problem: LargeProblem, sampler: BaseSampler, trials: int) -> tuple[list[tuple[float, float]], float]:
    """Latency and loss of each trial of a study, and the milliseconds of a proposal."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    points, seconds = [], 0.0
    for _ in range(trials):
        began = time.perf_counter()
        trial = study.ask(problem.slots)
        seconds += time.perf_counter() - began
        points.append((problem.latency_ms(trial.params), problem.loss(trial.params)))
        study.tell(trial, points[-1])
    return points, 1000 * seconds / trials


def proposal_ms(trials: int) -> float:
    """Mean time of a proposal of `ParetoSampler` over the first trials of a study, in milliseconds."""
    problem = LargeProblem.of(0)
    return round(searched(problem, _pareto(problem, 0), trials)[1], 2)


def rows(seeds: int, evaluations: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What each method reached."""
    problems = [LargeProblem.of(seed) for seed in range(seeds)]
    for name, make in METHODS.items():
        runs = [searched(problem, make(problem, seed), max(evaluations)) for seed, problem in enumerate(problems)]
        row: dict[str, Any] = {"sampler": name}
        for count in evaluations:
            shares = [problem.share(points[:count]) for problem, (points, _) in zip(problems, runs, strict=True)]
            row[f"after {count}"] = f"{np.mean(shares):.3f} ± {np.std(shares):.3f}"
        yield row | {"proposal_ms": round(float(np.mean([milliseconds for _, milliseconds in runs])), 1)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="problems, each with a seed of its own")
    parser.add_argument("--evaluations", default="50,100,200", help="numbers of evaluations to report")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    evaluations = [int(count) for count in options.evaluations.split(",")]
    print_rows(list(rows(options.seeds, evaluations)), as_json=options.json)


if __name__ == "__main__":
    main()
