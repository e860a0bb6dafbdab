"""How good are students of 4 calls, beside their teacher of 50?

    python benchmarks/distillation.py --out runs/distillation [--seeds 2] [--steps 300] [--methods all] [--workers 2]
    python benchmarks/distillation.py --out runs/distillation --minutes 3

For each seed, trains a teacher from scratch on `moving_shapes`, and from it a student by each method, all for the same
number of steps, or of minutes. Each makes a clip for the same prompts from the same noise. Printed are the Frechet
distance to real clips of these prompts, over the features of a classifier that is trained first; the share of clips in
which that classifier sees colour, shape and direction of the prompt; flicker; calls of the denoising network; steps and
minutes of training; and the wall time of a clip, see `distillation_times.py`. The 95% intervals of --json are those of
a bootstrap over clips.

The same command resumes from what an earlier one has left in --out. Another number of steps or minutes uses the same
teachers. Measure wall times, and compare for minutes, on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from benchmarks.distillation_runs import (
    ABLATIONS,
    METHODS,
    STUDENT_STEPS,
    TEACHER_STEPS,
    SeedRun,
)
from benchmarks.distillation_times import seconds_of, sentences
from benchmarks.ranking_runs import clips_of, in_processes
from nas.space import SearchSpace
from nas.training import train_classifier

ROOT = Path(__file__).resolve().parents[1]

MODELS = ("teacher", "student")

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
        "trained": f"{options.steps} steps" if options.minutes is None else f"{options.minutes:g} minutes",
        "classifier_accuracy": record.accuracy,
        "rows": {name: _over_seeds([rows[name] for rows in found]) for name in found[0]},
        "seconds": seconds_of(_models(options, seeds[0]), options.out / "bundles", options.export),
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
    parser.add_argument("--minutes", type=float, help="of training of each student, instead of --steps")
    parser.add_argument(
        "--methods",
        default="all",
        help=f"all ({'; '.join(METHODS)}), or some of these and {'; '.join(ABLATIONS)}, separated by ;",
    )
    parser.add_argument("--prompts", type=int, default=432, help="clips that each model is judged by")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--export", nargs="*", choices=MODELS, default=MODELS, help="models to time with ONNX Runtime")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.methods = tuple(METHODS) if options.methods == "all" else tuple(options.methods.split(";"))
    if unknown := [name for name in options.methods if name not in known]:
        parser.error(f"--methods: no method {unknown[0]!r} (there are {'; '.join(known)})")
    counts = (options.teacher_steps, options.classifier_steps, options.steps, options.seeds, options.workers)
    if min(counts) < 1 or options.prompts < 2:
        parser.error("at least 1 of everything, and 2 prompts")
    if options.minutes is not None and options.minutes <= 0:
        parser.error("--minutes: more than 0")
    return options


def _seed_run(options: argparse.Namespace, seed: int) -> SeedRun:
    return SeedRun(
        options.space, options.architecture, options.out / "classifier" / "classifier",
        options.teacher_steps, options.steps, options.minutes, options.methods, options.prompts, seed,
    )  # fmt: skip


def _models(options: argparse.Namespace, seed: SeedRun) -> dict[str, Path]:
    """Folders of the models whose clips are timed: the teacher, and a student if one was made."""
    root = options.out / f"seed-{seed.seed}"
    students = [root / seed.students / name / "model" for name in options.methods]
    made = [folder for folder in students if folder.is_dir()]
    return {"teacher": root / "teacher" / "model"} | ({"student": made[0]} if made else {})


def _over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, each seed's own, and why trainings ended."""
    merged: dict[str, Any] = {}
    for metric in ("distance", "accuracy", "flicker"):
        own = [row[metric] for row in rows if metric in row]
        for key in ("value", "real"):
            merged.setdefault(metric, {})[key] = statistics.fmean(each[key] for each in own) if own else None
        merged[metric] |= {"by_seed": [each["value"] for each in own], "intervals": [each["interval"] for each in own]}
    trained = {key: [row[key] for row in rows if key in row] for key in ("steps", "minutes")}
    return merged | trained | {"ended": [row["ended"] for row in rows if "ended" in row]}


def _show(report: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    title = f"{report['space']}, {report['trained']} per student; by seed in brackets"
    table = Table(
        "", "Frechet distance", "prompt accuracy", "flicker", "calls", "steps", "minutes", title=title,
        title_justify="left",
    )  # fmt: skip
    for name, row in report["rows"].items():
        calls = str(2 * TEACHER_STEPS if name == "teacher" else STUDENT_STEPS)
        cells = [_cell(row["distance"], ".3f"), _cell(row["accuracy"], ".1%"), _cell(row["flicker"], ".4f")]
        own = [_mean(row[key], form) for key, form in (("steps", ",.0f"), ("minutes", ".1f"))]
        table.add_row(name, *cells, calls, *own)
    real = next(iter(report["rows"].values()))
    clips = [f"{real[metric]['real']:{form}}" for metric, form in
             (("distance", ".3f"), ("accuracy", ".1%"), ("flicker", ".4f"))]  # fmt: skip
    table.add_row("other real clips", *clips)
    console.print(table)
    for name, row in report["rows"].items():
        for reason in row["ended"]:
            console.print(f"{name}: ended early: {reason}")
    for sentence in sentences(report["seconds"]):
        console.print(sentence)


def _mean(values: Sequence[float], form: str) -> str:
    return f"{statistics.fmean(values):{form}}" if values else ""


def _cell(metric: Mapping[str, Any], form: str) -> str:
    if metric["value"] is None:
        return "none"
    return f"{metric['value']:{form}} ({', '.join(f'{each:{form}}' for each in metric['by_seed'])})"


if __name__ == "__main__":
    main()
