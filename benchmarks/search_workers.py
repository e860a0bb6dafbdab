"""Whether several workers on one PostgreSQL find as good a front as one alone, at equal evaluations.

    python benchmarks/search_workers.py --data FILE --accuracy COLUMN --latency COLUMN [--workers 4] [--seeds 5]
        [--evaluations 100] [--seconds 0.5] [--json]

FILE is as for `search_efficiency.py`. Each worker is a process that runs the search of `nas search` on a private
PostgreSQL (package pgserver); each evaluation takes --seconds. It prints the shares of the true
front's hypervolume after all evaluations, and how often an architecture was evaluated more than once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.nasbench201 import load_problem
from benchmarks.tabular import DataError, TabularProblem
from nas.quality import FunctionQuality
from nas.search import ChoiceSpace, SearchConfig, TableLatency, load_study, run_search
from nas.space import Architecture


def main() -> None:
    """Run the benchmark, or one of its workers."""
    options = _options()
    try:
        problem = load_problem(options.data, options.accuracy, options.latency)
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    if options.storage is not None:
        _work(problem, options)
        return
    with tempfile.TemporaryDirectory(prefix="nas", ignore_cleanup_errors=True) as folder, _server(folder) as url:
        counts = (1, options.workers)
        runs_by_count = {
            count: [_study(problem, options, url, count, seed) for seed in range(options.seeds)] for count in counts
        }
    report = {"problem": problem.name, "evaluations": options.evaluations, "seeds": options.seeds}
    report["workers"] = {str(count): _summary(runs) for count, runs in runs_by_count.items()}
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if options.json else _text(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--accuracy", required=True)
    parser.add_argument("--latency", required=True)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    parser.add_argument("--study", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _server(folder: str) -> Iterator[str]:
    import pgserver

    server = pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _study(problem: TabularProblem, options: argparse.Namespace, url: str, workers: int, seed: int) -> dict[str, Any]:
    """One study to its end."""
    name, began = f"{workers} workers, seed {seed}", time.monotonic()
    command = [sys.executable, __file__, "--data", options.data, "--accuracy", options.accuracy]
    command += ["--latency", options.latency, "--evaluations", options.evaluations, "--seconds", options.seconds]
    command += ["--storage", url, "--study", name, "--seed", seed]
    processes = [subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit("error: a worker failed; see above")
    evaluated = [line for text in printed for line in text.splitlines()]
    rows = [problem.rows[scored.architecture.choices] for scored in load_study(url, name).evaluations]
    repeated = len(evaluated) - len(set(evaluated))
    seconds = round(time.monotonic() - began, 1)
    return {"share": problem.share(rows), "evaluated": len(evaluated), "repeated": repeated, "seconds": seconds}


def _work(problem: TabularProblem, options: argparse.Namespace) -> None:
    """One worker: a search as any user would write it."""
    space = ChoiceSpace(problem.candidates, name="cells")
    latencies = {choices: float(problem.latency_ms[row]) for choices, row in problem.rows.items()}
    latency = TableLatency(space, latencies, provenance="published", device=options.latency, runtime="of the file")

    def loss(architecture: Architecture) -> float:
        sys.stdout.write(f"{architecture.id}\n")
        time.sleep(options.seconds)
        return float(problem.loss[problem.rows[architecture.choices]])

    quality = FunctionQuality(loss, direction="minimize", name=options.accuracy)
    config = SearchConfig(evaluations=options.evaluations, seed=options.seed)
    run_search(space, latency, quality, config, options.storage, options.study)


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    shares = [run["share"] for run in runs]
    return {
        "mean": round(float(np.mean(shares)), 4),
        "spread_over_seeds": round(float(np.std(shares)), 4),
        "evaluated": [run["evaluated"] for run in runs],
        "repeated": sum(run["repeated"] for run in runs),
        "seconds": [run["seconds"] for run in runs],
    }


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['problem']}: {report['evaluations']} evaluations, {report['seeds']} seeds"]
    for count, summary in report["workers"].items():
        share = f"{summary['mean']:.4f} ± {summary['spread_over_seeds']:.4f} of the true front's hypervolume"
        lines.append(f"{count} workers: {share}, {summary['repeated']} repeated, {np.mean(summary['seconds']):.0f} s")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
