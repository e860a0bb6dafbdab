"""Do the clips of the quickstart show what its captions say, and what does its backbone contribute?

    nas run examples/quickstart.yaml
    python benchmarks/quickstart_quality.py [--run examples/quickstart.yaml] [--without FOLDER] [--json]

The student of a finished run, sampled with its defaults, makes a clip of the caption of each real clip. Printed are:
for how many of 16 captions, spread over all, the nearest real clip has that caption; the Frechet distance between these
clips and the real ones; and temporal flicker, also of the real clips. The run's teacher is judged, too, and so is the
student of the same run without a backbone, which trains all weights from random ones, with the same numbers of steps.
That run is made in runs/quickstart_without_backbone, or in --without, if it is not there. Captions of held-out clips
have their own lines.

Clips are compared by the features of their frames in the down path of the run's backbone, the same for both runs. The
nearest clip has the least Euclidean distance among all real clips, on a grid of 2x4 places. The Frechet distance uses
means of channels, which are few enough for so few clips. The line of the real clips counts, among clips that share a
caption, those whose nearest other clip has it.

It is a check: it ends with code 1, and prints a line for each goal that is missed. The goals: for captions of training
clips, at least three quarters of the nearest clips have the caption, the distance is at most half of that without
backbone, and flicker is at most 1.3 times that of the real clips. --json also prints intervals: 95% of a bootstrap over
clips.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table

from benchmarks.finished_runs import finished_run, one_line_errors
from benchmarks.quickstart_judge import Judge, RealClips
from nas.errors import ConfigError, StorageError
from nas.files import write_yaml
from nas.models import VideoModel
from nas.pipeline import run_pipeline
from nas.pipeline.folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = "without_backbone.yaml"
STUDENT, TEACHER, BARE, REAL = "student", "teacher", "student of the run without backbone", "real clips"
FOUND_SHARE, DISTANCE_RATIO, FLICKER_RATIO = 0.75, 0.5, 1.3


def main() -> None:
    """Run the check."""
    options = _options()
    with one_line_errors():
        run = finished_run(options.run)
        judge = _judge(run)
        report = judged(judge, run, without_backbone(run, options.without))
    missed = [goal for goal in goals(report) if not goal.met]
    report["missed"] = [str(goal) for goal in missed]
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else _show(report)
    sys.stdout.flush()
    for goal in missed:
        sys.stderr.write(f"missed: {goal}\n")
    sys.exit(1 if missed else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "examples" / "quickstart.yaml", help="the run's YAML file")
    parser.add_argument("--without", type=Path, default=ROOT / "runs" / "quickstart_without_backbone",
                        help="folder of the same run without backbone")  # fmt: skip
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _judge(run: RunFolder) -> Judge:
    if run.backbone is None:
        raise ConfigError("names no `backbone:` to judge its clips with", where=run.root)
    clips = run.clips
    return Judge(VideoModel.load(run.backbone), RealClips.of(clips.train), RealClips.of(clips.validation))


def without_backbone(run: RunFolder, folder: Path) -> RunFolder:
    """The same run from random weights, all of which it trains; made, or gone on with, where it is not finished.

    Raises:
        StorageError: The folder is that of the run itself, or holds something else.
        NasError: A stage cannot do its work.
    """
    file, folder = folder / WITHOUT, folder.resolve()
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if folder == run.root or (taken and not file.is_file()):
        raise StorageError("is in the way", where=folder, hint="choose another folder with --without")
    folder.mkdir(parents=True, exist_ok=True)
    write_yaml(file, _without(run, folder))
    run_pipeline(file, lambda line: sys.stderr.write(f"without backbone: {line}\n"))
    return finished_run(file)


def _without(run: RunFolder, folder: Path) -> dict[str, Any]:
    """The run's file, for that folder."""
    config: dict[str, Any] = run.config.model_dump(mode="json")
    paths = {name: config["data"][name] for name in ("path", "cache") if config["data"].get(name)}
    config["data"] |= {name: os.path.relpath(run.base / path, folder) for name, path in paths.items()}
    config |= {"out": ".", "space": os.path.relpath(run.base / run.config.space, folder), "backbone": None}
    # What was random when it began must be trained wherever the run would have kept its backbone as it is.
    for training in (config["train"], config["distill"]["finetune"]):
        if training is not None:
            training["freeze_backbone"] = False
    return config


def judged(judge: Judge, run: RunFolder, without: RunFolder) -> dict[str, Any]:
    """What is printed: rows by who made the clips, for the captions of training and for those held out."""
    models = {STUDENT: run.student}
    if run.config.distill.finetune is not None:
        models[TEACHER] = VideoModel.load(run.root / "distill" / "teacher" / "model")
    models[BARE] = without.student
    sides = {"training captions": judge.training, "held-out captions": judge.held_out}
    return {
        "run": str(run.root),
        "without": str(without.root),
        "steps": {name: model.generation.steps for name, model in models.items()},
        "rows": {
            side: {name: judge.of_model(model, real) for name, model in models.items()} | {REAL: judge.of_real(real)}
            for side, real in sides.items()
        },
    }


@dataclass(frozen=True)
class Goal:
    """What the clips should be.

    Args:
        what: A figure of them.
        value: It.
        limit: What it should be.
        at_least: Whether the figure should be that or more; that or less otherwise.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is; a figure that is no number meets nothing."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.what}: {self.value:.3g}, goal: at {'least' if self.at_least else 'most'} {self.limit:g}"


def goals(report: Mapping[str, Any]) -> tuple[Goal, ...]:
    """The goals of the student's clips of training captions."""
    rows = report["rows"]["training captions"]
    student, bare = rows[STUDENT], rows[BARE]
    ratio = student["distance"]["value"] / bare["distance"]["value"]
    return (
        Goal(
            f"nearest real clip is of the caption, of {student['of']}",
            student["found"],
            math.ceil(FOUND_SHARE * student["of"]),
            at_least=True,
        ),
        Goal("Frechet distance, divided by that without backbone", ratio, DISTANCE_RATIO),
        Goal("flicker, divided by that of the real clips", student["times_real"], FLICKER_RATIO),
    )


def _show(report: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    columns = ("clips of", "made by", "nearest is of the caption", "Frechet distance", "flicker", "times real")
    table = Table(*columns, title=report["run"], title_justify="left")
    for side, rows in report["rows"].items():
        for name, row in rows.items():
            who = f"{name}, {report['steps'][name]} steps" if name in report["steps"] else name
            distance = "" if row["distance"] is None else f"{row['distance']['value']:.4f}"
            cells = (f"{row['found']} of {row['of']}", distance, f"{row['flicker']:.4f}", f"{row['times_real']:.2f}")
            table.add_row(side, who, *cells, end_section=name == REAL)
    console.print(table)
    for goal in goals(report):
        if goal.met:
            console.print(f"met: {goal}", highlight=False)


if __name__ == "__main__":
    main()
