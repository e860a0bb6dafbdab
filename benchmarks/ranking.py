"""Does a supernet rank architectures as training each of them alone does?

    python benchmarks/ranking.py --out runs/ranking [--backbone frozen] [--architectures 24] [--steps 600] [--seeds 2]

Trains a backbone on `moving_shapes`: the network without temporal layers, for --image-steps. From it, as from a model
of images in practice, starts all that follows. First architectures of a small space, each trained alone, twice, with
seeds that differ in temporal layers, batches and noise. How far the two agree is the ceiling for any other way to rank
them. Then a supernet with each strategy, which ranks the same architectures by the weights they inherit; and what a
user might take instead of training: parameters, multiply-accumulates, synaptic flow. Quality is the loss on held-out
clips, with the same clips, noise and noise levels for all.

--backbone says what becomes of the backbone in all these trainings: it stays as it is while temporal layers and the
text encoder are trained ("frozen", the default, and how SnapGen-V searched), or is trained along ("tuned"); or there is
none, and everything starts from random weights ("random").

A supernet is trained on `--supernet-factor` times the clips of one architecture, whatever its strategy: a step of a
sandwich trains several architectures, so it makes fewer steps. "Between seeds" is how far the supernets of one strategy
agree among themselves. The same command goes on with what an earlier one, or winner.py, has left in --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau, spearmanr

from benchmarks.proxies import PROXIES
from benchmarks.ranking_runs import Job, Start, run_all, spread
from nas.space import NONE, Architecture, SearchSpace
from nas.training import SuperNetConfig, TrainingConfig
from nas.training.paths import RANDOM_PATHS

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("uniform", "fair", "sandwich")
REFERENCE_SEEDS = (1000, 2000)

Losses = Mapping[str, float]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    space = SearchSpace.load(options.space)
    if any(NONE not in slot.candidates for slot in space.slots):
        sys.exit(f"error: {options.space}: every slot must offer none")
    if options.architectures > space.count():
        sys.exit(f"error: --architectures {options.architectures}: {options.space} has {space.count()}")
    architectures = spread(space, options.architectures, seed=0)
    backbone = Start.of(options).train(options.space, options.out)
    alone = {seed: [_alone(options, each, seed, backbone) for each in architectures] for seed in REFERENCE_SEEDS}
    supernets = {
        (strategy, seed): _supernet(options, strategy, seed, architectures, backbone)
        for strategy, seed in product(options.strategies, range(options.seeds))
    }
    # Supernets first: they take longest, and two of them at the end would leave a processor idle.
    found = run_all([*supernets.values(), *alone[1000], *alone[2000]], options.out, options.workers)
    truths = [{k: loss for job in jobs for k, loss in found[job.name].items()} for jobs in alone.values()]
    ranked: dict[str, list[Losses]] = {
        strategy: [found[supernets[strategy, seed].name] for seed in range(options.seeds)]
        for strategy in options.strategies
    }
    ranked |= {name: [{each.id: -proxy(space, each) for each in architectures}] for name, proxy in PROXIES.items()}
    report = _report(options, architectures, truths, ranked)
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else _show(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "moving_shapes.yaml")
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--steps", type=int, default=600, help="of each training alone")
    Start.add_options(parser)
    parser.add_argument("--supernet-factor", type=int, default=6)
    parser.add_argument("--strategies", type=lambda text: text.split(","), default=list(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=2, help="supernets of each strategy")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if unknown := [name for name in options.strategies if name not in STRATEGIES]:
        parser.error(f"--strategies: no strategy {unknown[0]!r} (there are {', '.join(STRATEGIES)})")
    counts = (options.steps, options.supernet_factor, options.seeds, options.workers)
    if min(*counts, options.architectures - 2) < 1:
        parser.error("at least 3 architectures, and 1 of everything else")
    return options


def _alone(options: argparse.Namespace, architecture: Architecture, seed: int, backbone: Path | None) -> Job:
    config = TrainingConfig(steps=options.steps, seed=seed, **Start.of(options).settings)
    return Job(f"alone-{seed}-{architecture.id}", options.space, config, (architecture,), backbone)


def _supernet(
    options: argparse.Namespace,
    strategy: str,
    seed: int,
    architectures: tuple[Architecture, ...],
    backbone: Path | None,
) -> Job:
    paths = 2 + RANDOM_PATHS if strategy == "sandwich" else 1
    steps = options.supernet_factor * options.steps // paths
    config = SuperNetConfig(strategy=strategy, seed=seed, steps=steps, **Start.of(options).settings)
    return Job(f"supernet-{strategy}-{seed}", options.space, config, architectures, backbone)


def _report(
    options: argparse.Namespace,
    architectures: Sequence[Architecture],
    truths: Sequence[Losses],
    ranked: Mapping[str, Sequence[Losses]],
) -> dict[str, Any]:
    ids = [each.id for each in architectures]
    losses = np.array([[truth[each] for each in ids] for truth in truths])
    rows = {"trained alone, another seed": _agreement(ids, truths[:1], truths[1:])}
    rows |= {name: _agreement(ids, each, truths) for name, each in ranked.items()}
    return {
        "space": options.space.stem,
        "architectures": len(ids),
        "start": str(Start.of(options)),
        "steps_alone": options.steps,
        "supernet_factor": options.supernet_factor,
        "loss_alone": {"least": float(losses.min()), "most": float(losses.max())},
        "loss_difference_of_two_seeds": float(np.abs(np.diff(losses, axis=0)).mean()),
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


def _show(report: dict[str, Any]) -> None:
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
    least, most = report["loss_alone"]["least"], report["loss_alone"]["most"]
    console.print(
        f"held-out loss alone: {least:.5f} to {most:.5f}, two seeds differ by "
        f"{report['loss_difference_of_two_seeds']:.5f} on average"
    )


if __name__ == "__main__":
    main()
