"""How often is the architecture that `nas pick` chooses truly one of the best, and what does the noise cost?

    nas run examples/quickstart.yaml
    python benchmarks/search_noise.py --out runs/search_noise [--run examples/quickstart.yaml] [--seeds 5]

Takes architectures that the search of a run has evaluated, those nearest to its front, and scores them with the run's
supernet on --pool batches of held-out clips. Each of --seeds draws takes --batches of these at random. The truth is the
mean over all others, so no batch counts in both. In each draw:

1. All are scored on the first batches of the draw, as many as in the run's search, and have a front.
2. The front is scored again. *fixed*: each member anew, on --fixed batches. *halving*: as `nas rescore` does, on up to
   all batches of the draw, and on no more new ones in all than *fixed*.
3. For each of --budgets latencies, one member is chosen. *by score*: the best within the budget. *with noise*: as
   `nas pick`, the fastest that the noise cannot tell from it.

Printed are, by the truth: how often the choice is among the best three of all architectures within the budget, and of
those that are no slower than itself (`own`); its mean rank within the budget; how much worse it is than the best there;
how much faster than the choice by score; and the new batches of the second scoring. Batches are kept in --out, so the
same command resumes.
"""

from __future__ import annotations

import argparse
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
from nas.search import StudyRecord, choose, choose_by_score
from nas.search.noise.halving import Halving
from nas.search.rescoring.selecting import select_doubtful, select_members
from nas.search.results.choosing import Choice
from nas.search.results.evaluation import Evaluation
from nas.search.storage.final_scores import FinalScores
from nas.space import Architecture
from nas.training import supernet_quality

ROOT = Path(__file__).resolve().parents[1]
SEED = 1000
CHOOSERS: dict[str, Callable[[StudyRecord, float], Choice]] = {"by score": choose_by_score, "with noise": choose}

Parts = dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Outcome:
    """One choice, judged by the truth.

    Args:
        scoring: How the front was scored again.
        choosing: How a member was chosen.
        seed: Number of the draw.
        batches: New batches that the second scoring took.
        budget_ms: The latency budget.
        rank: Rank among all architectures within the budget; 1 is the best.
        own_rank: Rank among those that are no slower.
        worse: Loss over that of the best one.
        faster_ms: Latency below that of the choice by score.
    """

    scoring: str
    choosing: str
    seed: int
    batches: int
    budget_ms: float
    rank: int
    own_rank: int
    worse: float
    faster_ms: float


@dataclass(frozen=True)
class Draw:
    """The batches of one draw, and the truth by all others.

    Args:
        seed: Its number.
        parts: Losses on the batches of the draw, by id of the architecture.
        truth: Mean loss on all other batches.
    """

    seed: int
    parts: Parts
    truth: dict[str, float]

    @classmethod
    def of(cls, pool: Parts, seed: int, batches: int) -> Draw:
        """Draw at random, the same batches for all architectures."""
        order = np.random.default_rng(seed).permutation(len(next(iter(pool.values()))))
        losses = {name: np.array(row)[order] for name, row in pool.items()}
        return cls(
            seed,
            {name: tuple(row[:batches].tolist()) for name, row in losses.items()},
            {name: float(row[batches:].mean()) for name, row in losses.items()},
        )


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with one_line_errors():
        config, space = load_run(options.run)
        run = RunFolder(config, space, options.run.parent, (options.run.parent / config.out).resolve())
        searched = run.record.searched
        record = replace(searched, evaluations=select_members(searched, options.architectures))
        pool = _pool(options, run, [one.architecture for one in record.evaluations])
    draws = [Draw.of(pool, seed, options.batches) for seed in range(options.seeds)]
    first = config.quality.options["batches"]
    outcomes = [outcome for draw in draws for outcome in _outcomes(options, record, draw, first)]
    write_json(options.out / "outcomes.json", [vars(one) for one in outcomes])
    _show(outcomes)


def _pool(options: argparse.Namespace, run: RunFolder, architectures: Sequence[Architecture]) -> Parts:
    """The losses on all batches; each is scored once and kept in a file."""
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "losses.json"
    losses: dict[str, list[float]] = read_json(file) if file.exists() else {}
    if any(len(losses.get(one.id, ())) < options.pool for one in architectures):
        folder, clips = run.root / "train" / "supernet", run.clips.validation
        metric = supernet_quality(run.space, folder, clips, seed=SEED, batches=options.pool)
        with progress_bar("scoring", len(architectures)) as advance:
            for one in architectures:
                known = losses.get(one.id, [])
                losses[one.id] = known + metric.score_parts(one, range(len(known), options.pool))
                write_json(file, losses)
                advance(one.id)
    return {one.id: tuple(losses[one.id][: options.pool]) for one in architectures}


def _outcomes(options: argparse.Namespace, pool: StudyRecord, draw: Draw, first: int) -> list[Outcome]:
    """All choices of one draw."""
    record = replace(
        pool, evaluations=tuple(_scored(one, draw.parts[one.architecture.id][:first]) for one in pool.evaluations)
    )
    fixed = {one.architecture.id: draw.parts[one.architecture.id][: options.fixed] for one in record.front}
    cost = options.fixed * len(record.front)
    halved, spent = _halved(record, draw, first, cost)
    latencies_ms = [one.latency_ms for one in record.front]
    budgets_ms = np.linspace(latencies_ms[0], latencies_ms[-1], options.budgets + 1)[1:].tolist()
    return [
        _judged((scoring, choosing, batches), draw, record, _with_second_scores(record, scores), budget_ms)
        for scoring, scores, batches in (("fixed", fixed, cost), ("halving", halved, spent))
        for choosing in CHOOSERS
        for budget_ms in budgets_ms
    ]


def _scored(evaluation: Evaluation, parts: tuple[float, ...]) -> Evaluation:
    return replace(evaluation, quality=fmean(parts), quality_parts=parts)


def _halved(record: StudyRecord, draw: Draw, first: int, cost: int) -> tuple[Parts, int]:
    """The second scoring of `nas rescore` with the batches of the draw, and how many it adds to those of the search."""
    latencies_ms = {one.architecture.id: one.latency_ms for one in select_doubtful(record)}
    most = len(next(iter(draw.parts.values())))
    halving = Halving(latencies_ms, "minimize", most, cost, dict.fromkeys(latencies_ms, first))
    while halving.next_round(draw.parts):
        pass
    spent = sum(level - first for level in halving.levels.values())
    return {name: draw.parts[name][:level] for name, level in halving.levels.items()}, spent


def _with_second_scores(record: StudyRecord, parts: Parts) -> StudyRecord:
    scores = {name: fmean(row) for name, row in parts.items()}
    return replace(record, final_scores=FinalScores(record.quality, record.direction, scores, {}, parts))


def _judged(
    how: tuple[str, str, int], draw: Draw, searched: StudyRecord, record: StudyRecord, budget_ms: float
) -> Outcome:
    scoring, choosing, batches = how
    choice = CHOOSERS[choosing](record, budget_ms)
    member, loss = choice.member, draw.truth[choice.member.architecture.id]
    losses = [(one.latency_ms, draw.truth[one.architecture.id]) for one in searched.evaluations]
    within = [other for latency_ms, other in losses if latency_ms <= budget_ms]
    no_slower = [other for latency_ms, other in losses if latency_ms <= member.latency_ms]
    return Outcome(
        scoring,
        choosing,
        draw.seed,
        batches,
        budget_ms,
        1 + sum(other < loss for other in within),
        1 + sum(other < loss for other in no_slower),
        loss - min(within),
        choice.by_score.latency_ms - member.latency_ms,
    )


def _show(outcomes: Sequence[Outcome]) -> None:
    """A row for each way to score and to choose: counts and means over draws and budgets."""
    table = Table("scored again", "choice", "best 3", "best 3, own", "rank", "worse", "ms faster", "batches")
    for scoring, choosing in dict.fromkeys((one.scoring, one.choosing) for one in outcomes):
        rows = [one for one in outcomes if (one.scoring, one.choosing) == (scoring, choosing)]
        table.add_row(
            scoring,
            choosing,
            f"{sum(one.rank <= 3 for one in rows)} of {len(rows)}",
            f"{sum(one.own_rank <= 3 for one in rows)} of {len(rows)}",
            f"{fmean(one.rank for one in rows):.2f}",
            f"{fmean(one.worse for one in rows):.6f}",
            f"{fmean(one.faster_ms for one in rows):.2f}",
            f"{fmean(one.batches for one in rows):,.0f}",
        )
    Console(width=100).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "examples" / "quickstart.yaml", help="YAML file of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder for the losses; the same one resumes")
    parser.add_argument("--architectures", type=int, default=32, help="architectures nearest to the front of the run")
    parser.add_argument("--pool", type=int, default=256, help="batches on which each architecture is scored")
    parser.add_argument("--batches", type=int, default=64, help="batches of a draw; the rest of the pool is the truth")
    parser.add_argument("--fixed", type=int, default=32, help="batches of each member if the number is fixed")
    parser.add_argument("--seeds", type=int, default=5, help="draws of batches")
    parser.add_argument("--budgets", type=int, default=8, help="latency budgets, evenly over the front of each draw")
    return parser.parse_args()


if __name__ == "__main__":
    main()
