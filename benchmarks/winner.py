"""Is the architecture that a search finds better than a design without a search?

    python benchmarks/winner.py --out runs/winner [--backbone frozen] [--evaluations 120] [--steps 600] [--seeds 3]

The benchmark measures the blocks of a small space on this machine. It trains a backbone on `moving_shapes`, from which
all other trainings start (as in ranking.py, with the same --backbone), and then the supernet. The designs without a
search are the same layer in every slot that offers it, AnimateDiff's placement, and no temporal layers. Within the
predicted latency of each uniform design, two searches with equally many evaluations use the supernet: ParetoSampler and
random draws. --members of each search are fine-tuned alone for --finetune-steps and scored again, as in `nas rescore`,
and the best of them is the result of that search. All architectures are then trained alone with equal steps, and
measured as whole networks, in turn. Quality is the loss on held-out clips, with the same clips, noise and noise levels
for all, but with other noise and noise levels than in the searches.

The same command resumes from the files that an earlier one, or ranking.py, has written to --out. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.ranking_runs import BATCHES, HELD_OUT_SEED, Job, Start, clips_of, in_processes, run_all
from nas.latency import LatencyPredictor, MeasurementSettings, check_networks, fit_networks, profile
from nas.latency.prediction.fit import fit_path
from nas.runtimes import get_runtime
from nas.search import SearchConfig, rescore, run_search
from nas.space import NONE, Architecture, Budgets, SearchSpace
from nas.training import SuperNetConfig, TrainingConfig, held_out_quality, supernet_quality

ROOT = Path(__file__).resolve().parents[1]
UNIFORM = {"all SelfAttention1D": "self_attention_1d", "all Conv1D": "conv1d"}
SEARCHES: dict[str, str] = {"searched": "pareto", "random search": "random"}

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
    searches = _searches(options, supernet.name, budgets_ms)
    picked = sorted(in_processes(Search.run, list(searches.values()), options.out, options.workers))
    designs |= {name: architecture for name, (_, architecture) in zip(searches, picked, strict=True)}
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
    parser.add_argument("--members", type=int, default=16, help="of each search to score again")
    parser.add_argument("--finetune-steps", type=int, default=100, help="of each of these, before it is scored")
    parser.add_argument("--steps", type=int, default=600, help="of each training alone")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each design")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--runtime", default="onnxruntime", help="what executes the networks, on one thread")
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls per block, when it is measured")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts = [value for value in vars(options).values() if type(value) is int]
    if min(counts) < 1 or options.seconds <= 0:
        parser.error("at least 1 of everything, and more than no time for each block")
    return options


def _measurement(max_seconds: float) -> MeasurementSettings:
    return MeasurementSettings(max_seconds=max_seconds, min_seconds=10 * max_seconds)


def _predictor(options: argparse.Namespace, space: SearchSpace) -> LatencyPredictor:
    """Predictions from a table of this machine, fitted to whole networks; both are measured once."""
    path = options.out / "table.csv"
    table = profile(space, get_runtime(options.runtime, threads=1), path, measurement=_measurement(options.seconds))
    if not fit_path(path, space.name).is_file():
        fit_networks(space, table, None, networks=6, measurement=_measurement(2 * options.seconds)).save(path)
    return LatencyPredictor.open(space, path, options.denoising_steps)


@dataclass(frozen=True)
class Search:
    """One search within a budget, and the second scoring of what it found best.

    Args:
        space: File of the search space.
        supernet: Name of the supernet's folder.
        config: Of the search, sampler and budget included.
        finetune_steps: Of each architecture alone, before it is scored again.
        members: How many are.
    """

    space: Path
    supernet: str
    config: SearchConfig
    finetune_steps: int
    members: int

    def run(self, out: Path) -> Architecture:
        """What the search finds, or has found before."""
        torch.set_num_threads(1)
        space, folder, seed = SearchSpace.load(self.space), out / self.supernet, HELD_OUT_SEED + 1
        predictor = LatencyPredictor.open(space, out / "table.csv", self.config.steps)
        clips, budget_ms = clips_of(space), self.config.budgets.latency_ms
        assert budget_ms is not None
        name = f"{self.config.sampler}-{budget_ms:.3f}"
        storage = out / f"{name}.db"
        quality = supernet_quality(space, folder, clips.validation, seed=seed, batches=BATCHES)
        run_search(space, predictor, quality, self.config, storage, name)
        steps = self.finetune_steps
        again = held_out_quality(space, folder, clips, finetune_steps=steps, seed=seed, batches=BATCHES)
        return rescore(storage, name, again, members=self.members).record.final.best_within(budget_ms).architecture


def _searches(options: argparse.Namespace, supernet: str, budgets_ms: Mapping[str, float]) -> dict[str, Search]:
    """A search with each sampler within the latency of each uniform design, by what its find is called."""
    found = {}
    for (name, sampler), (design, budget_ms) in product(SEARCHES.items(), budgets_ms.items()):
        config = SearchConfig(
            evaluations=options.evaluations,
            sampler=sampler,
            steps=options.denoising_steps,
            budgets=Budgets(latency_ms=budget_ms),
        )
        search = Search(options.space, supernet, config, options.finetune_steps, options.members)
        found[f"{name}, within {design}"] = search
    return found


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
    report = check_networks(
        predictor.space, predictor.table, None, distinct, measurement=_measurement(4 * options.seconds)
    )
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
