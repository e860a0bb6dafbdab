"""How often is the architecture that `nas pick` chooses truly one of the best, and what does the noise cost?

    nas run examples/quickstart.yaml
    python benchmarks/search_noise.py --out runs/search_noise [--run examples/quickstart.yaml] [--seeds 5]

Takes architectures that the search of a run has evaluated, those nearest to its front, and scores them with the run's
supernet. The truth is the mean over --truth batches of held-out clips. Then, for each of --seeds other draws:

1. All are scored on as many batches as in the run's search, and have a front.
2. The front is scored a second time. *fixed*: its members on --batches each. *halving*: as `nas rescore`, on at most as
   many batches in all.
3. For each of --budgets latencies, one member is chosen. *by score*: the best within the budget. *with noise*: as
   `nas pick`, the fastest that the noise cannot tell from it.

Printed are how often the choice is among the best three architectures within the budget by the truth, its mean rank,
how much worse it is than the best by the truth, and how much faster. Each batch is scored once and kept in --out, so
the same command resumes.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.finished_runs import one_line_errors
from nas.files import read_json, write_json
from nas.pipeline import load_run
from nas.pipeline.folder import RunFolder
from nas.progress import progress_bar
from nas.quality import HeldOutFlowLoss
from nas.search import StudyRecord, choose, choose_by_score
from nas.search.choosing import Choice
from nas.search.evaluation import Evaluation
from nas.search.halving import Halving
from nas.search.selecting import select_doubtful, select_members
from nas.search.storage.final_scores import FinalScores
from nas.space import Architecture
from nas.training import supernet_quality

ROOT = Path(__file__).resolve().parents[1]
TRUTH_SEED, SEARCH_SEED, AGAIN_SEED = 1000, 2000, 3000
CHOOSERS: dict[str, Callable[[StudyRecord, float], Choice]] = {"by score": choose_by_score, "with noise": choose}

Parts = dict[str, tuple[float, ...]]


class Batches:
    """Losses of architectures on batches, each scored once and kept in a file.

    Args:
        run: The run, whose supernet scores.
        folder: Where the file is.
        seed: Seed of the draw.
        batches: How many there are.
    """

    def __init__(self, run: RunFolder, folder: Path, seed: int, batches: int) -> None:
        self.run, self.seed, self.batches = run, seed, batches
        self.file = folder / f"losses-{seed}.json"
        self.losses: dict[str, list[float]] = read_json(self.file) if self.file.exists() else {}

    @functools.cached_property
    def metric(self) -> HeldOutFlowLoss:
        """The held-out flow loss of the run."""
        clips = self.run.clips.validation
        return supernet_quality(
            self.run.space, self.run.root / "train" / "supernet", clips, seed=self.seed, batches=self.batches
        )

    def first(self, architectures: Sequence[Architecture], count: int) -> Parts:
        """The losses on the first `count` batches, by id of the architecture."""
        with progress_bar(f"draw {self.seed}", len(architectures)) as advance:
            for architecture in architectures:
                known = self.losses.get(architecture.id, [])
                if len(known) < count:
                    self.losses[architecture.id] = known + self.metric.score_parts(
                        architecture, range(len(known), count)
                    )
                    write_json(self.file, self.losses)
                advance(architecture.id)
        return {one.id: tuple(self.losses[one.id][:count]) for one in architectures}


@dataclass(frozen=True)
class Outcome:
    """One choice, judged by the truth.

    Args:
        scoring: How the front was scored again.
        choosing: How a member was chosen.
        seed: Number of the draw.
        batches: Batches that the second scoring took.
        budget_ms: The latency budget.
        rank: Rank among all architectures within the budget; 1 is the best.
        worse: Loss over that of the best one.
        faster_ms: Latency below that of the choice by score alone.
    """

    scoring: str
    choosing: str
    seed: int
    batches: int
    budget_ms: float
    rank: int
    worse: float
    faster_ms: float


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with one_line_errors():
        config, space = load_run(options.run)
        run = RunFolder(config, space, options.run.parent, (options.run.parent / config.out).resolve())
        options.out.mkdir(parents=True, exist_ok=True)
        searched = run.record.searched
        pool = replace(searched, evaluations=select_members(searched, options.architectures))
        architectures = [one.architecture for one in pool.evaluations]
        parts = Batches(run, options.out, TRUTH_SEED, options.truth).first(architectures, options.truth)
        truth = {name: fmean(row) for name, row in parts.items()}
        outcomes = [one for seed in range(options.seeds) for one in _outcomes(options, run, pool, truth, seed)]
    write_json(options.out / "outcomes.json", [vars(one) for one in outcomes])
    sys.stdout.write(json.dumps([vars(one) for one in outcomes], indent=2) + "\n") if options.json else _show(outcomes)


def _outcomes(
    options: argparse.Namespace, run: RunFolder, pool: StudyRecord, truth: dict[str, float], seed: int
) -> list[Outcome]:
    """All choices of one draw."""
    first = run.config.quality.options["batches"]
    architectures = [one.architecture for one in pool.evaluations]
    parts = Batches(run, options.out, SEARCH_SEED + seed, first).first(architectures, first)
    record = replace(pool, evaluations=tuple(_scored(one, parts[one.architecture.id]) for one in pool.evaluations))
    again = Batches(run, options.out, AGAIN_SEED + seed, options.batches)
    fixed = again.first([one.architecture for one in record.front], options.batches)
    halved = _halved(record, again, options.batches)
    latencies_ms = [one.latency_ms for one in record.front]
    budgets_ms = np.linspace(latencies_ms[0], latencies_ms[-1], options.budgets + 1)[1:]
    return [
        _judged(scoring, choosing, seed, final, scores, budget_ms, truth)
        for scoring, scores in (("fixed", fixed), ("halving", halved))
        for final in [_with_second_scores(record, scores)]
        for choosing in CHOOSERS
        for budget_ms in budgets_ms.tolist()
    ]


def _scored(evaluation: Evaluation, parts: tuple[float, ...]) -> Evaluation:
    return replace(evaluation, quality=fmean(parts), quality_parts=parts)


def _halved(record: StudyRecord, again: Batches, most: int) -> Parts:
    """The second scoring of `nas rescore`, at no more cost than that of the front."""
    candidates = {one.architecture.id: one for one in select_doubtful(record)}
    latencies_ms = {name: one.latency_ms for name, one in candidates.items()}
    halving = Halving(latencies_ms, "minimize", most, most * len(record.front))
    parts: Parts = {}
    while levels := halving.next_round(parts):
        for name, level in levels.items():
            parts |= again.first([candidates[name].architecture], level)
    return parts


def _with_second_scores(record: StudyRecord, parts: Parts) -> StudyRecord:
    scores = {name: fmean(row) for name, row in parts.items()}
    # The halving may leave out no member of the front, so none is waiting.
    return replace(record, final_scores=FinalScores(record.quality, record.direction, scores, {}, parts))


def _judged(
    scoring: str, choosing: str, seed: int, final: StudyRecord, scores: Parts, budget_ms: float, truth: dict[str, float]
) -> Outcome:
    choice = CHOOSERS[choosing](final, budget_ms)
    loss = truth[choice.member.architecture.id]
    within = [truth[one.architecture.id] for one in final.evaluations if one.latency_ms <= budget_ms]
    return Outcome(
        scoring,
        choosing,
        seed,
        sum(map(len, scores.values())),
        budget_ms,
        1 + sum(other < loss for other in within),
        loss - min(within),
        choice.by_score.latency_ms - choice.member.latency_ms,
    )


def _show(outcomes: Sequence[Outcome]) -> None:
    """A row for each way to score and to choose, and its mean over draws and budgets."""
    table = Table("second scoring", "choice", "among the best 3", "mean rank", "worse by", "faster by, ms", "batches")
    for scoring, choosing in dict.fromkeys((one.scoring, one.choosing) for one in outcomes):
        rows = [one for one in outcomes if (one.scoring, one.choosing) == (scoring, choosing)]
        table.add_row(
            scoring,
            choosing,
            f"{sum(one.rank <= 3 for one in rows)} of {len(rows)}",
            f"{fmean(one.rank for one in rows):.2f}",
            f"{fmean(one.worse for one in rows):.6f}",
            f"{fmean(one.faster_ms for one in rows):.3f}",
            f"{fmean(one.batches for one in rows):,.0f}",
        )
    Console().print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "examples" / "quickstart.yaml", help="YAML file of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the losses; the same one resumes")
    parser.add_argument("--architectures", type=int, default=40, help="architectures nearest to the front of the run")
    parser.add_argument("--truth", type=int, default=256, help="batches behind the truth")
    parser.add_argument("--batches", type=int, default=32, help="batches of the second scoring of a member")
    parser.add_argument("--seeds", type=int, default=5, help="draws of held-out clips and noise")
    parser.add_argument("--budgets", type=int, default=8, help="latency budgets, evenly over the front of each draw")
    parser.add_argument("--json", action="store_true", help="print all choices as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
