"""Does the supernet of a run rank architectures as training each of them alone does?

    nas run examples/quickstart.yaml
    python benchmarks/quickstart_ranking.py --out runs/quickstart_ranking [--run examples/quickstart.yaml] [--steps 300]

Takes space, clips, backbone and the settings of the `train:` stage from the file of a finished run. Architectures of
its space, with few, some and many temporal layers, are each trained alone for --steps from the same backbone, frozen if
the run froze it. The run's supernet ranks them twice: with the batches of held-out clips that its search used, and with
64. Rankings without training (parameters, multiply-accumulates, synaptic flow) are compared, too, and with
`--references 2` the ceiling: the agreement of trainings with different seeds. Quality of a training alone is its loss
on 32 batches of held-out clips, with other noise than the supernet is scored with.

No supernet is trained, unless --strategies asks for some; these get `--supernet-factor` times the steps of one
architecture. The same command resumes with what is in --out.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.finished_runs import clips_of_run, finished_run, one_line_errors
from benchmarks.ranking_report import (
    Losses,
    add_options,
    architectures_of,
    checked_options,
    show,
    train_and_compare,
)
from benchmarks.ranking_runs import FINE_BATCHES, HELD_OUT_SEED, Common
from nas.pipeline.folder import RunFolder
from nas.progress import progress_bar
from nas.space import Architecture
from nas.training import TrainingConfig, supernet_quality

ROOT = Path(__file__).resolve().parents[1]
OWN = {"steps", "seed", "max_minutes"}
"""Settings that differ between the trainings of a run."""


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with one_line_errors():
        run = finished_run(options.run)
        architectures = architectures_of(run.space, options.architectures)
        given = _ranked_by_the_run(run, architectures)
        report = {"start": _start(run)} | train_and_compare(options, _common(options.run, run), architectures, given)
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else show(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "examples" / "quickstart.yaml", help="YAML file of the run")
    parser.add_argument("--out", type=Path, required=True)
    add_options(parser, steps=300, references=1, strategies=(), seeds=1)
    return checked_options(parser)


def _common(file: Path, run: RunFolder) -> Common:
    """Trainings on the run's clips from its backbone, as its supernet was trained."""
    settings = run.config.train.model_dump(include=TrainingConfig.model_fields.keys() - OWN)
    clips = functools.partial(clips_of_run, file.resolve())
    # Other noise than the supernet is scored with: equal noise would count as agreement.
    return Common(run.base / run.config.space, settings, run.backbone, clips, HELD_OUT_SEED + 1)


def _ranked_by_the_run(run: RunFolder, architectures: tuple[Architecture, ...]) -> dict[str, list[Losses]]:
    """Losses with the weights of the run's supernet: on the batches of its search, and on more of them."""
    ranked: dict[str, list[Losses]] = {}
    for batches in dict.fromkeys((run.config.quality.options["batches"], FINE_BATCHES)):
        quality = supernet_quality(
            run.space, run.root / "train", run.clips.validation, seed=HELD_OUT_SEED, batches=batches
        )
        whose = " (its search)" if batches == run.config.quality.options["batches"] else ""
        losses = {}
        with progress_bar("scoring", len(architectures)) as advance:
            for each in architectures:
                losses[each.id] = quality.score(each)
                advance(each.id)
        ranked[f"the run's supernet, {quality.detail}{whose}"] = [losses]
    return ranked


def _start(run: RunFolder) -> str:
    """Description of what trainings start from."""
    if run.backbone is None and run.space.file.backbone.pretrained is None:
        return "random weights"
    frozen = "a frozen backbone" if run.config.train.freeze_backbone else "a backbone, trained along"
    named = run.config.backbone and run.config.backbone.model
    return f"{frozen} ({named})" if named else frozen


if __name__ == "__main__":
    main()
