"""What it saves to score an architecture in full only if no other one clearly beats it, and what it costs.

    python benchmarks/search_racing.py [--seeds 10] [--evaluations 60]

Runs `run_search` on a table of a whole space that holds the losses on parts of the held-out data (`space_table.py`). A
batch of the simulation is the mean loss of an architecture plus a random mixture of how its parts differ from it, the
same mixture for all architectures. So batches vary as the parts do, together and each for itself, and there are as many
as are asked for. The truth is the mean loss.

For each pair of --batches FIRST/MOST, `nas search --first-batches FIRST --batches MOST`, it prints the batches scored
in all, the share of the true front's hypervolume that the architectures found have by the truth, and for eight latency
budgets, how much worse than the best one the choice by score truly is. Means over the seeds, with standard errors.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.finished_runs import one_line_errors
from benchmarks.space_table import load_space_problem, read_parts
from benchmarks.tabular import DataError, TabularProblem
from nas.quality import MeanScore, QualityMetric
from nas.search import SearchConfig, StudyRecord, TableLatency, run_search
from nas.space import Architecture

ROOT = Path(__file__).resolve().parents[1]
BUDGETS = 8


class SimulatedLoss(QualityMetric):
    """Losses on simulated batches.

    Args:
        problem: The problem.
        parts: Losses of each row on parts, shape (rows, parts).
        seed: Of the batches.
        batches: How many there are.
    """

    name, direction = "simulated loss", "minimize"

    def __init__(self, problem: TabularProblem, parts: NDArray[np.float64], seed: int, batches: int) -> None:
        self.problem = problem
        self.part_count, self.fingerprint, self.parts_fingerprint = batches, f"{seed}/{batches}", str(seed)
        self._mean, count = parts.mean(axis=1), parts.shape[1]
        self._deviations = (parts - self._mean[:, None]) / (count - 1) ** 0.5
        self._mixtures = np.random.default_rng(seed).normal(size=(batches, count))
        self.scored = 0

    def score(self, architecture: Architecture) -> MeanScore:
        """The mean over all batches."""
        return MeanScore(self.score_parts(architecture, range(self.part_count)))

    def score_parts(self, architecture: Architecture, numbers: range) -> list[float]:
        """The losses on some batches."""
        self.scored += len(numbers)
        row = self.problem.rows[architecture.choices]
        return [float(self._mean[row] + self._deviations[row] @ self._mixtures[number]) for number in numbers]


@dataclass(frozen=True)
class Outcome:
    """What a search did, judged by the truth.

    Args:
        batches: Batches that it scored.
        share: Of the true front's hypervolume.
        worse: Mean loss of the choices over that of the best ones.
    """

    batches: int
    share: float
    worse: float


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with one_line_errors():
        problem = load_space_problem(options.space, options.data, "worst")
        parts = read_parts(options.data)
    table = Table("first", "most", "batches", "share of the hypervolume", "loss above the best")
    for first, most in options.batches:
        outcomes = [_search(problem, parts, seed, first, most, options.evaluations) for seed in range(options.seeds)]
        table.add_row(str(first), str(most), *(_mean(outcomes, name) for name in ("batches", "share", "worse")))
    Console(width=100).print(table)


def _search(
    problem: TabularProblem, parts: NDArray[np.float64], seed: int, first: int, most: int, evaluations: int
) -> Outcome:
    if problem.space is None:
        raise DataError("the table is not of a space")
    latencies_ms = {choices: float(problem.latency_ms[row]) for choices, row in problem.rows.items()}
    latency = TableLatency(problem.space, latencies_ms, provenance="measured", device="table", runtime="table")
    quality = SimulatedLoss(problem, parts, seed, most)
    config = SearchConfig(evaluations=evaluations, first_batches=first, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        record = run_search(problem.space, latency, quality, config, Path(folder) / "study.db", "racing").record
    found = [problem.rows[member.architecture.choices] for member in record.front]
    return Outcome(quality.scored, problem.share(found), _worse(problem, record))


def _worse(problem: TabularProblem, record: StudyRecord) -> float:
    """Mean over latency budgets of what the choice by score is worse than the best architecture, by the truth."""
    budgets_ms = np.linspace(problem.latency_ms.min(), problem.latency_ms.max(), BUDGETS + 1)[1:]
    gaps = []
    for budget_ms in budgets_ms:
        chosen = problem.rows[record.best_within(float(budget_ms)).architecture.choices]
        gaps.append(problem.loss[chosen] - problem.loss[problem.latency_ms <= budget_ms].min())
    return float(np.mean(gaps))


def _mean(outcomes: list[Outcome], name: str) -> str:
    values = np.array([getattr(one, name) for one in outcomes])
    if name == "batches":
        return f"{values.mean():,.0f}"
    digits = 4 if name == "share" else 6
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) / len(values) ** 0.5:.{digits}f}"


def _pairs(text: str) -> list[tuple[int, int]]:
    return [(int(first), int(most)) for first, most in (pair.split("/") for pair in text.split(","))]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "benchmarks" / "data" / "quickstart_scores.csv")
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "quickstart.yaml")
    parser.add_argument("--batches", type=_pairs, default="4/4,8/8,4/8,16/16,4/16", help="pairs FIRST/MOST")
    parser.add_argument("--evaluations", type=int, default=60, help="architectures that a search scores")
    parser.add_argument("--seeds", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    main()
