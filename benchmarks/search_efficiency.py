"""How fast searches approach the true front of a table of all architectures, and the time of a proposal.

    python benchmarks/search_efficiency.py --data FILE --accuracy COLUMN --latency COLUMN [--seeds 10]
        [--evaluations 50,100,200,500] [--json]
    python benchmarks/search_efficiency.py --data benchmarks/data/quickstart_scores.csv \
        --space search_spaces/quickstart.yaml [--reference worst] [--evaluations 20,40,60,120,240]

FILE is a parquet or CSV file with cells in NAS-Bench-201 notation (`arch_str`), accuracies in percent and latencies in
milliseconds. --accuracy and --latency may be given several times; each pair is one search problem. With --space, the
problem is a space of video networks, and FILE is the table that `space_table.py` makes of it.

It prints the share of the true front's hypervolume after a number of evaluations of distinct architectures: mean, and
spread over the seeds. For cells, the reference point is the 99th percentile of latency, and 100 minus the median
accuracy: with the worst values instead, a few hundred random draws reach nearly all of it. "nas search" is the sampler
that `nas search` uses by default. "nas search, told the paths" is the same sampler, given what a user of such cells
knows (`features=`). qLogNEHVI needs BoTorch (the extra `bench`).

The last line measures proposals in a space of 10^12 architectures with synthetic quality and latency.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import optuna
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.large_space import proposal_ms
from benchmarks.nasbench201 import load_problem
from benchmarks.search_methods import BOTORCH, KNOWN_PATHS, METHODS
from benchmarks.space_table import load_space_problem
from benchmarks.tabular import DataError, TabularProblem, in_processes
from nas.errors import NasError


def main() -> None:
    """Run the benchmark."""
    options = _options()
    try:
        problems = _problems(options)
    except (DataError, NasError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    shares, milliseconds = _run(problems, options)
    report = _report(problems, options, shares, milliseconds)
    report["large_space"] = {
        "architectures": "4^20",
        "trials": options.proposals,
        "proposal_ms": proposal_ms(options.proposals),
    }
    if options.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
    else:
        _show(report)


def _problems(options: argparse.Namespace) -> list[TabularProblem]:
    if options.space is not None:
        return [load_space_problem(options.space, options.data, options.reference)]
    return [
        load_problem(options.data, accuracy, latency, latency_percentile=options.reference_latency_percentile,
                     reference_accuracy=options.reference_accuracy)
        for accuracy, latency in product(options.accuracy, options.latency)
    ]  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--accuracy", action="append", default=[])
    parser.add_argument("--latency", action="append", default=[])
    parser.add_argument("--space", type=Path, help="space of the table, instead of --accuracy and --latency")
    parser.add_argument(
        "--reference", choices=["worst", "median"], default="worst", help="loss of the reference, of a space"
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--evaluations", type=_counts, help="default: 50,100,200,500; of a space: 20,40,60,120,240")
    parser.add_argument("--methods", type=lambda text: text.split(";"), help="separated by ;, default: all")
    parser.add_argument("--reference-latency-percentile", type=float, default=99)
    parser.add_argument("--reference-accuracy", type=float, help="in percent; the median when left out")
    parser.add_argument("--workers", type=int, default=1, help="processes; with more than one, times are not reliable")
    parser.add_argument("--proposals", type=int, default=200, help="number of them over which their time is averaged")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.space is None) == (not options.accuracy or not options.latency):
        parser.error("give --accuracy and --latency for cells, or --space")
    cells = options.space is None
    options.evaluations = options.evaluations or ([50, 100, 200, 500] if cells else [20, 40, 60, 120, 240])
    options.methods = options.methods or [name for name in METHODS if cells or name != KNOWN_PATHS]
    if unknown := [name for name in options.methods if name not in METHODS]:
        parser.error(f"--methods: no method {unknown[0]!r} (there are {'; '.join(METHODS)})")
    if BOTORCH in options.methods and importlib.util.find_spec("botorch") is None:
        parser.error(f"{BOTORCH} needs the package botorch (pip install 'nas-video[bench]'); --methods leaves it out")
    if options.seeds < 1 or options.workers < 1:
        parser.error("--seeds and --workers are at least 1")
    return options


def _counts(text: str) -> list[int]:
    counts = sorted({int(part) for part in text.split(",")})
    if counts[0] < 1:
        raise argparse.ArgumentTypeError("at least 1 evaluation")
    return counts


def _run(
    problems: Sequence[TabularProblem], options: argparse.Namespace
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """Shares by method, of shape (problems, seeds, evaluations), and milliseconds of a proposal."""
    jobs = list(product(options.methods, range(len(problems)), range(options.seeds)))
    arguments = [(name, problems[place], seed, options.evaluations, options.proposals) for name, place, seed in jobs]
    results = in_processes(_search, arguments, options.workers)
    shape = (len(options.methods), len(problems), options.seeds, -1)
    shares = np.array([share for share, _ in results]).reshape(shape)
    times = np.array([milliseconds for _, milliseconds in results]).reshape(len(options.methods), -1).mean(axis=1)
    return dict(zip(options.methods, shares, strict=True)), dict(zip(options.methods, times.tolist(), strict=True))


def _search(
    name: str, problem: TabularProblem, seed: int, evaluations: Sequence[int], proposals: int
) -> tuple[list[float], float]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run = METHODS[name](problem, seed, min(max(evaluations), len(problem.rows)))
    shares = [problem.share(run.rows[:count]) for count in evaluations]
    return shares, 1000 * float(np.mean(run.seconds[:proposals]))


def _report(
    problems: Sequence[TabularProblem],
    options: argparse.Namespace,
    shares: dict[str, NDArray[np.float64]],
    milliseconds: dict[str, float],
) -> dict[str, Any]:
    return {
        "data": options.data.name,
        "seeds": options.seeds,
        "evaluations": options.evaluations,
        "mean": {name: _numbers(share.mean(axis=(0, 1))) for name, share in shares.items()},
        "spread_over_seeds": {name: _numbers(share.mean(axis=0).std(axis=0)) for name, share in shares.items()},
        "proposal_ms": {name: round(time_ms, 2) for name, time_ms in milliseconds.items()},
        "problems": {
            problem.name: {
                "reference": {"latency_ms": problem.reference[0], "loss": problem.reference[1]},
                "mean": {name: _numbers(share[place].mean(axis=0)) for name, share in shares.items()},
                "spread_over_seeds": {name: _numbers(share[place].std(axis=0)) for name, share in shares.items()},
            }
            for place, problem in enumerate(problems)
        },
    }


def _numbers(values: NDArray[np.float64]) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _show(report: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 150)
    for name, problem in report["problems"].items():
        console.print(_table(name, problem, report["evaluations"]))
    title = f"mean of {len(report['problems'])} problems, {report['seeds']} seeds"
    console.print(_table(title, report, report["evaluations"], report["proposal_ms"]))
    large = report["large_space"]
    console.print(
        f"{large['architectures']} architectures: {large['proposal_ms']:.1f} ms per proposal over {large['trials']}"
    )


def _table(
    title: str, part: dict[str, Any], evaluations: Sequence[int], milliseconds: dict[str, float] | None = None
) -> Table:
    time_column = [] if milliseconds is None else ["ms per proposal, at first"]
    table = Table("method", *(str(count) for count in evaluations), *time_column, title=title, title_justify="left")
    for name, means in part["mean"].items():
        cells = zip(means, part["spread_over_seeds"][name], strict=True)
        times = [] if milliseconds is None else [f"{milliseconds[name]:.1f}"]
        table.add_row(name, *(f"{mean:.4f} ± {spread:.4f}" for mean, spread in cells), *times)
    return table


if __name__ == "__main__":
    main()
