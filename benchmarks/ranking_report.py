"""What rankings share beside their trainings: options, the comparison with separate trainings, and tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau, spearmanr

from benchmarks.proxies import PROXIES
from benchmarks.ranking_runs import Common, run_all, spread
from nas.space import NONE, Architecture, SearchSpace

STRATEGIES = ("uniform", "fair", "sandwich")
REFERENCE_SEEDS = (1000, 2000)

Losses = Mapping[str, float]


def add_options(
    parser: argparse.ArgumentParser, *, steps: int, references: int, strategies: Sequence[str], seeds: int
) -> None:
    """Add the options of all rankings, with the defaults of this one."""
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--steps", type=int, default=steps, help="steps of each training alone")
    parser.add_argument("--references", type=int, choices=(1, 2), default=references,
                        help="trainings alone of each architecture; two give the ceiling")  # fmt: skip
    parser.add_argument("--supernet-factor", type=int, default=6)
    parser.add_argument("--strategies", type=lambda text: text.split(","), default=list(strategies),
                        help=f"supernets to train, out of {', '.join(STRATEGIES)}")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=seeds, help="supernets of each strategy")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--json", action="store_true")


def checked_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parsed options; ends the program if they are invalid."""
    options = parser.parse_args()
    if unknown := [name for name in options.strategies if name not in STRATEGIES]:
        parser.error(f"--strategies: no strategy {unknown[0]!r} (there are {', '.join(STRATEGIES)})")
    counts = (options.steps, options.supernet_factor, options.seeds, options.workers)
    if min(*counts, options.architectures - 2) < 1:
        parser.error("at least 3 architectures, and 1 of everything else")
    return options


def architectures_of(space: SearchSpace, count: int) -> tuple[Architecture, ...]:
    """The architectures to rank; ends the program if the space has too few."""
    if any(NONE not in slot.candidates for slot in space.slots):
        sys.exit(f"error: {space.where}: every slot must offer none")
    if count > space.count():
        sys.exit(f"error: --architectures {count}: {space.where} has {space.count()}")
    return spread(space, count, seed=0)


def train_and_compare(
    options: argparse.Namespace,
    common: Common,
    architectures: tuple[Architecture, ...],
    given: Mapping[str, Sequence[Losses]],
) -> dict[str, Any]:
    """Train what the options ask for, and compare it, what is given, and what needs no training with trainings alone.

    Args:
        options: Those of `add_options`, and `out`.
        common: Makes the trainings.
        architectures: What is ranked.
        given: Losses by architecture of what is there already, one or several, by name.
    """
    seeds = REFERENCE_SEEDS[: options.references]
    alone = {seed: [common.alone(each, seed, options.steps) for each in architectures] for seed in seeds}
    passes = options.supernet_factor * options.steps
    supernets = {
        (strategy, seed): common.supernet(strategy, seed, passes, architectures)
        for strategy, seed in product(options.strategies, range(options.seeds))
    }
    # Supernets first: they take longest, and two at the end would leave a CPU core idle.
    jobs = [*supernets.values(), *(job for jobs in alone.values() for job in jobs)]
    found = run_all(jobs, options.out, options.workers)
    truths = [{k: loss for job in jobs for k, loss in found[job.name].items()} for jobs in alone.values()]
    ranked = dict(given)
    for strategy in options.strategies:
        ranked[strategy] = [found[supernets[strategy, seed].name] for seed in range(options.seeds)]
    space = SearchSpace.load(common.space)
    ranked |= {name: [{each.id: -proxy(space, each) for each in architectures}] for name, proxy in PROXIES.items()}
    described = {"space": space.name, "steps_alone": options.steps, "supernet_factor": options.supernet_factor}
    return described | compare([each.id for each in architectures], truths, ranked)


def compare(ids: Sequence[str], truths: Sequence[Losses], ranked: Mapping[str, Sequence[Losses]]) -> dict[str, Any]:
    """Rank correlations of rankings with separate trainings, and of the second set of these, if any, with the first."""
    losses = np.array([[truth[each] for each in ids] for truth in truths])
    rows = {}
    if len(truths) > 1:
        rows["trained alone, another seed"] = _agreement(ids, truths[:1], truths[1:])
    rows |= {name: _agreement(ids, each, truths) for name, each in ranked.items()}
    between = {"loss_difference_of_two_seeds": float(np.abs(np.diff(losses, axis=0)).mean())} if len(truths) > 1 else {}
    return {
        "architectures": len(ids),
        "loss_alone": {"least": float(losses.min()), "most": float(losses.max())},
        **between,
        "agreement": rows,
    }


def _agreement(ids: Sequence[str], ranked: Sequence[Losses], truths: Sequence[Losses]) -> dict[str, Any]:
    """Rank correlations with each of the separate trainings: the mean over these, of each ranking."""

    def correlations(measure: Callable[..., Any]) -> list[float]:
        pairs = [[([one[each] for each in ids], [truth[each] for each in ids]) for truth in truths] for one in ranked]
        return [round(float(np.mean([measure(*pair).statistic for pair in group])), 4) for group in pairs]

    tau, rho = correlations(kendalltau), correlations(spearmanr)
    means = {"kendall_tau": round(float(np.mean(tau)), 4), "spearman": round(float(np.mean(rho)), 4)}
    between = [kendalltau(*([each[i] for i in ids] for each in pair)).statistic for pair in combinations(ranked, 2)]
    among = {"kendall_tau_between_seeds": round(float(np.mean(between)), 4)} if between else {}
    return means | among | {"kendall_tau_by_seed": tau, "spearman_by_seed": rho}


def show(report: Mapping[str, Any]) -> None:
    """Print a report as a table; `start` describes what all trainings start from."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{report['space']}: {report['architectures']} architectures, {report['steps_alone']} steps "
    title += f"from {report['start']}"
    table = Table(
        "ranked by", "Kendall tau", "Spearman", "tau by seed", "between seeds", title=title, title_justify="left"
    )
    for name, row in report["agreement"].items():
        seeds = ", ".join(f"{each:.3f}" for each in row["kendall_tau_by_seed"])
        between = f"{row['kendall_tau_between_seeds']:.3f}" if "kendall_tau_between_seeds" in row else ""
        table.add_row(name, f"{row['kendall_tau']:.3f}", f"{row['spearman']:.3f}", seeds, between)
    console.print(table)
    line = f"held-out loss alone: {report['loss_alone']['least']:.5f} to {report['loss_alone']['most']:.5f}"
    if "loss_difference_of_two_seeds" in report:
        line += f", two seeds differ by {report['loss_difference_of_two_seeds']:.5f} on average"
    console.print(line)
