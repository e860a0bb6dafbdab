"""Is what a search finds better than what one would have built without it?

    python benchmarks/winner.py --out runs/winner [--backbone frozen] [--evaluations 120] [--steps 600] [--seeds 3]

Measures the blocks of a small space on this machine, trains a backbone on `moving_shapes`, from which all other
trainings start (as in ranking.py, with the same --backbone), then the supernet, and searches it, once with
ParetoSampler and once by random draws, with equally many evaluations. Against designs that need no search - the same
layer wherever it is offered, AnimateDiff's placement, no temporal layers - stands what each search has of best quality
within the predicted latency of that design. All are then trained alone with equal steps, and measured as whole
networks, in turn. Quality is the loss on held-out clips, with the same clips, noise and noise levels for all, but with
other noise and noise levels than the searches saw.

The same command goes on with what an earlier one, or ranking.py, has left in --out. Latencies want an otherwise idle
machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from benchmarks.ranking_runs import BATCHES, HELD_OUT_SEED, Job, Start, clips_of, run_all
from nas.errors import BudgetError
from nas.latency import LatencyPredictor, Protocol, check_networks, fit_networks, fit_path, profile
from nas.runtimes import get_runtime
from nas.search import SearchConfig, StudyRecord, run_search
from nas.space import NONE, Architecture, SearchSpace
from nas.training import SuperNetConfig, TrainingConfig, supernet_quality

ROOT = Path(__file__).resolve().parents[1]
UNIFORM = {"all SelfAttention1D": "self_attention_1d", "all Conv1D": "conv1d"}
SEARCHES = {"searched": "pareto", "random search": "random"}

Designs = dict[str, Architecture]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    space = SearchSpace.load(options.space)
    predictor = _predictor(options, space)
    start = Start.of(options)
    backbone = start.train(options.space, options.out)
    config = SuperNetConfig(strategy=options.strategy, steps=options.supernet_steps, seed=0, **start.settings)
    supernet = Job(f"supernet-{options.strategy}-0", options.space, config, (), backbone)
    run_all([supernet], options.out, 1)
    designs = _designs(space)
    budgets_ms = {name: predictor.predict(designs[name]).pipeline_ms for name in UNIFORM}
    studies = {
        name: _search(options, options.out / supernet.name, predictor, sampler) for name, sampler in SEARCHES.items()
    }
    designs |= _found(studies, budgets_ms)
    losses = _trained(options, designs, backbone)
    latencies = _measured(options, predictor, designs)
    rows = [
        {
            "design": name,
            "architecture": str(each),
            "loss": statistics.fmean(losses[each]),
            "spread": statistics.stdev(losses[each]) if options.seeds > 1 else None,
            "losses": losses[each],
            "measured_ms": latencies[each],
        }
        for name, each in designs.items()
    ]
    report = {
        "space": space.name,
        "start": str(start),
        "steps": options.steps,
        "evaluations": options.evaluations,
        "device": predictor.table.metadata.device,
        "runtime": options.runtime,
        "rows": rows,
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else _show(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "moving_shapes.yaml")
    parser.add_argument("--strategy", default=SuperNetConfig().strategy)
    Start.add_options(parser)
    parser.add_argument("--supernet-steps", type=int, default=3600)
    parser.add_argument("--evaluations", type=int, default=120)
    parser.add_argument("--denoising-steps", type=int, default=4)
    parser.add_argument("--steps", type=int, default=600, help="of each training alone")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each design")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--runtime", default="onnxruntime", help="what executes the networks, on one thread")
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls per block, when it is measured")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts = (
        options.image_steps,
        options.supernet_steps,
        options.evaluations,
        options.denoising_steps,
        options.steps,
        options.seeds,
    )
    if min(*counts, options.workers) < 1 or options.seconds <= 0:
        parser.error("at least 1 of everything, and more than no time for each block")
    return options


def _protocol(max_seconds: float) -> Protocol:
    return Protocol(max_seconds=max_seconds, min_seconds=10 * max_seconds)


def _predictor(options: argparse.Namespace, space: SearchSpace) -> LatencyPredictor:
    """Predictions from a table of this machine, fitted to whole networks; both are measured once."""
    path = options.out / "table.csv"
    table = profile(space, get_runtime(options.runtime, threads=1), path, protocol=_protocol(options.seconds))
    if not fit_path(path, space.name).is_file():
        fit_networks(space, table, None, networks=6, protocol=_protocol(2 * options.seconds)).save(path)
    return LatencyPredictor.open(space, path, options.denoising_steps)


def _search(options: argparse.Namespace, supernet: Path, predictor: LatencyPredictor, sampler: str) -> StudyRecord:
    space = predictor.space
    clips = clips_of(space).validation
    quality = supernet_quality(space, supernet, clips, seed=HELD_OUT_SEED + 1, batches=BATCHES)
    config = SearchConfig(evaluations=options.evaluations, sampler=sampler, steps=options.denoising_steps)
    return run_search(space, predictor, quality, config, options.out / "studies.db", sampler).record


def _designs(space: SearchSpace) -> Designs:
    """What needs no search."""
    designs = {name: _wherever(space, layer) for name, layer in UNIFORM.items()}
    return designs | {
        "AnimateDiff's placement": _wherever(space, "self_attention_1d", but="mid"),
        "no temporal layers": space.without_layers(),
    }


def _wherever(space: SearchSpace, layer: str, but: str = "") -> Architecture:
    """A layer in every slot that offers it, but for those of one stage."""
    offered = [layer in slot.candidates and slot.stage != but for slot in space.slots]
    return space.architecture([layer if each else NONE for each in offered])


def _found(studies: Mapping[str, StudyRecord], budgets_ms: Mapping[str, float]) -> Designs:
    """The best of each search within the latency of each uniform design."""
    found = {}
    for name, record in studies.items():
        for design, budget_ms in budgets_ms.items():
            try:
                found[f"{name}, within {design}"] = record.searched.best_within(budget_ms).architecture
            except BudgetError:
                continue  # a short random search may have nothing as fast
    return found


def _trained(options: argparse.Namespace, designs: Designs, backbone: Path | None) -> dict[Architecture, list[float]]:
    """Losses of each design, trained alone with each seed."""
    jobs = {
        (each, seed): Job(
            f"alone-{seed}-{each.id}",
            options.space,
            TrainingConfig(steps=options.steps, seed=seed, **Start.of(options).settings),
            (each,),
            backbone,
        )
        for each in dict.fromkeys(designs.values())
        for seed in range(options.seeds)
    }
    found = run_all(list(jobs.values()), options.out, options.workers)
    return {each: [found[jobs[each, seed].name][each.id] for seed in range(options.seeds)] for each, _ in jobs}


def _measured(options: argparse.Namespace, predictor: LatencyPredictor, designs: Designs) -> dict[Architecture, float]:
    """Milliseconds of one call of each whole network, all measured in turn."""
    distinct = list(dict.fromkeys(designs.values()))
    report = check_networks(predictor.space, predictor.table, None, distinct, protocol=_protocol(4 * options.seconds))
    return {each: check.measured_unet_ms for each, check in zip(distinct, report.checks, strict=True)}


def _show(report: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{report['space']}: {report['steps']} steps from {report['start']}, "
    title += f"{report['evaluations']} evaluations per search"
    table = Table("design", "held-out loss", "spread", "measured ms", "architecture", title=title, title_justify="left")
    for row in report["rows"]:
        spread = "" if row["spread"] is None else f"{row['spread']:.5f}"
        table.add_row(row["design"], f"{row['loss']:.5f}", spread, f"{row['measured_ms']:.3f}", row["architecture"])
    console.print(table)
    console.print(f"one call of the denoising network in {report['runtime']}, one thread, on {report['device']}")


if __name__ == "__main__":
    main()
