"""How good are students of 4 calls, beside their teacher of 50?

    python benchmarks/distillation.py --out runs/distillation [--seeds 2] [--steps 300] [--methods all] [--workers 2]

For each seed, trains a teacher from scratch on `moving_shapes`, and from it a student by each method, all for the same
number of steps. Each makes a clip for the same prompts from the same noise. Printed are the Frechet distance to real
clips of these prompts, over the features of a classifier that is trained first; the share of clips in which that
classifier sees colour, shape and direction of the prompt; flicker; calls of the denoising network; and the wall time of
a clip, alone and in a batch, taken in turn at the end. The 95% intervals of --json are those of a bootstrap over clips.

The same command resumes from what an earlier one has left in --out. Measure wall times on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.distillation_runs import (
    ABLATIONS,
    METHODS,
    STUDENT_STEPS,
    TEACHER_GUIDANCE,
    TEACHER_STEPS,
    SeedRun,
)
from benchmarks.ranking_runs import clips_of, in_processes
from nas.data import prompts
from nas.models import VideoModel
from nas.space import SearchSpace
from nas.training import train_classifier

ROOT = Path(__file__).resolve().parents[1]
BATCH = 16

Rows = dict[str, dict[str, Any]]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    space = SearchSpace.load(options.space)
    record = train_classifier(clips_of(space).train.shape, options.out / "classifier", steps=options.classifier_steps)
    seeds = [_seed_run(options, seed) for seed in range(options.seeds)]
    ran = in_processes(SeedRun.run, seeds, options.out, options.workers)
    found: list[Rows] = [rows for _, rows in sorted(ran, key=lambda each: each[0])]
    report = {
        "space": options.space.stem,
        "steps": options.steps,
        "classifier_accuracy": record.accuracy,
        "rows": {name: _over_seeds([rows[name] for rows in found]) for name in found[0]},
        "seconds": _times(options.out / "seed-0", options.methods),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else _show(report)


def _options() -> argparse.Namespace:
    known = METHODS | ABLATIONS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "moving_shapes.yaml")
    parser.add_argument("--architecture", type=Path, default=ROOT / "examples" / "moving_shapes" / "architecture.yaml")
    parser.add_argument("--teacher-steps", type=int, default=3000)
    parser.add_argument("--classifier-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=300, help="of each student")
    parser.add_argument("--methods", default="all", help=f"all, or some of: {'; '.join(known)}, separated by ;")
    parser.add_argument("--prompts", type=int, default=432, help="clips that each model is judged by")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.methods = tuple(known) if options.methods == "all" else tuple(options.methods.split(";"))
    if unknown := [name for name in options.methods if name not in known]:
        parser.error(f"--methods: no method {unknown[0]!r} (there are {'; '.join(known)})")
    counts = (options.teacher_steps, options.classifier_steps, options.steps, options.seeds, options.workers)
    if min(counts) < 1 or options.prompts < 2:
        parser.error("at least 1 of everything, and 2 prompts")
    return options


def _seed_run(options: argparse.Namespace, seed: int) -> SeedRun:
    return SeedRun(
        options.space, options.architecture, options.out / "classifier" / "classifier",
        options.teacher_steps, options.steps, options.methods, options.prompts, seed,
    )  # fmt: skip


def _over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, each seed's own, and why trainings ended."""
    merged: dict[str, Any] = {}
    for metric in ("distance", "accuracy", "flicker"):
        own = [row[metric] for row in rows if metric in row]
        for key in ("value", "real"):
            merged.setdefault(metric, {})[key] = statistics.fmean(each[key] for each in own) if own else None
        merged[metric] |= {"by_seed": [each["value"] for each in own], "intervals": [each["interval"] for each in own]}
    return merged | {"ended": [row["ended"] for row in rows if "ended" in row]}


def _times(root: Path, methods: Sequence[str], rounds: int = 9) -> dict[str, dict[str, float]]:
    """Seconds per clip of teacher and student, alone and in a batch, in turn: the median over rounds."""
    torch.set_num_threads(1)
    teacher = VideoModel.load(root / "teacher" / "model")
    ways = {"teacher": (teacher, TEACHER_STEPS, TEACHER_GUIDANCE)}
    made = [name for name in methods if (root / name / "model").is_dir()]
    ways |= {"student": (VideoModel.load(root / made[0] / "model"), STUDENT_STEPS, 1.0)} if made else {}
    asked = prompts(BATCH)
    taken: dict[str, dict[str, list[float]]] = {name: {"alone": [], "in_batch": []} for name in ways}
    for _ in range(rounds):
        for name, (model, steps, scale) in ways.items():
            for key, some in (("alone", asked[:1]), ("in_batch", asked)):
                began = time.perf_counter()
                model.generate(some, steps=steps, guidance_scale=scale)
                taken[name][key].append((time.perf_counter() - began) / len(some))
    return {name: {key: statistics.median(each) for key, each in keys.items()} for name, keys in taken.items()}


def _show(report: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{report['space']}, {report['steps']} steps per student; by seed in brackets"
    table = Table("", "Frechet distance", "prompt accuracy", "flicker", "calls", title=title, title_justify="left")
    for name, row in report["rows"].items():
        calls = str(2 * TEACHER_STEPS if name == "teacher" else STUDENT_STEPS)
        cells = [_cell(row["distance"], ".3f"), _cell(row["accuracy"], ".1%"), _cell(row["flicker"], ".4f")]
        table.add_row(name, *cells, calls)
    real = next(iter(report["rows"].values()))
    clips = [f"{real[metric]['real']:{form}}" for metric, form in
             (("distance", ".3f"), ("accuracy", ".1%"), ("flicker", ".4f"))]  # fmt: skip
    table.add_row("other real clips", *clips, "")
    console.print(table)
    for name, row in report["rows"].items():
        for reason in row["ended"]:
            console.print(f"{name}: ended early: {reason}")
    for key, what in (("alone", "one at a time"), ("in_batch", f"{BATCH} at a time")):
        seconds = {name: each[key] for name, each in report["seconds"].items()}
        listed = ", ".join(f"{name} {value:.4f} s" for name, value in seconds.items())
        ratio = f", {seconds['teacher'] / seconds['student']:.1f} times less" if "student" in seconds else ""
        console.print(f"wall time of a clip, {what}: {listed}{ratio}")


def _cell(metric: Mapping[str, Any], form: str) -> str:
    if metric["value"] is None:
        return "none"
    return f"{metric['value']:{form}} ({', '.join(f'{each:{form}}' for each in metric['by_seed'])})"


if __name__ == "__main__":
    main()
