"""Does a supernet rank architectures as training each of them alone does?

    python benchmarks/ranking.py --out runs/ranking [--backbone frozen] [--architectures 24] [--steps 600] [--seeds 2]

Trains a backbone on `moving_shapes`: the network without temporal layers, for --image-steps. All other trainings start
from it, as they would from a model of images in practice. First, architectures of a small space are each trained alone,
twice, with seeds that differ in temporal layers, batches and noise. The agreement of the two is the ceiling for every
other ranking. Then a supernet is trained with each strategy, and ranks the same architectures with inherited weights.
Parameters, multiply-accumulates and synaptic flow are compared as rankings without training. Quality is the loss on
held-out clips, with the same clips, noise and noise levels for all.

--backbone decides what the trainings do with the backbone. "frozen" (the default, and how SnapGen-V searched) trains
temporal layers and the text encoder only. "tuned" trains the backbone, too. "random" has no backbone: everything starts
from random weights.

A supernet is trained on `--supernet-factor` times the clips of one architecture, with every strategy: a step of a
sandwich trains several architectures, so it makes fewer steps. "Between seeds" is the agreement of the supernets of one
strategy. The same command resumes with what it, or winner.py, has left in --out.

quickstart_ranking.py does the same for the supernet of a run.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.ranking_report import (
    STRATEGIES,
    add_options,
    architectures_of,
    checked_options,
    show,
    train_and_compare,
)
from benchmarks.ranking_runs import Common, Start
from nas.space import SearchSpace

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    architectures = architectures_of(SearchSpace.load(options.space), options.architectures)
    start = Start.of(options)
    common = Common(options.space, start.settings, start.train(options.space, options.out))
    report = {"start": str(start)} | train_and_compare(options, common, architectures, {})
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else show(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "moving_shapes.yaml")
    parser.add_argument("--out", type=Path, required=True)
    Start.add_options(parser)
    add_options(parser, steps=600, references=2, strategies=STRATEGIES, seeds=2)
    return checked_options(parser)


if __name__ == "__main__":
    main()
