"""What compressed weights cost: the held-out loss of a run's supernet, and the order of its architectures.

    nas run examples/quickstart.yaml
    python benchmarks/compressed_weights.py [--run examples/quickstart.yaml] [--architectures 60] [--batches 8] [--json]

Architectures of the run's space, drawn at random, are scored with each kind of weights of `nas.compression`, as
`nas search --weights` scores them, on the same held-out clips and noise. For each kind it prints the size of the
largest network's weights, the mean loss and its increase over fp32, the largest increase of an architecture, and
Kendall's tau between the order of the architectures and their order in fp32. The last row is fp32 on other clips and
noise. If the order differs less than in that row, it differs less than the search can tell.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from benchmarks.finished_runs import clips_of_run, one_line_errors
from nas.compression import WEIGHT_KINDS, WeightKind, weight_format
from nas.data import DataSplit
from nas.models import extreme_architectures
from nas.models.network import VideoUNet
from nas.pipeline import load_run
from nas.progress import progress_bar
from nas.space import Architecture, SearchSpace
from nas.training import held_out_quality

ROOT = Path(__file__).resolve().parents[1]
OTHER_CLIPS = "fp32, other clips and noise"

Losses = Mapping[str, float]


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with one_line_errors():
        config, space = load_run(options.run)
        supernet = (options.run.parent / config.out).resolve() / "train"
        clips = clips_of_run(options.run.resolve(), space)
        distinct = space.distinct()
        chosen = distinct.sample_distinct(random.Random(0), min(options.architectures, distinct.count()))
        losses = {kind: scored(space, supernet, clips, chosen, options.batches, kind) for kind in WEIGHT_KINDS}
        others = scored(space, supernet, clips, chosen, options.batches, "fp32", seed=1)
        rows = report(losses, others, {kind: network_bytes(space, kind) for kind in WEIGHT_KINDS})
    sys.stdout.write(json.dumps(rows, indent=2) + "\n") if options.json else _show(rows, len(chosen), options.batches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=ROOT / "examples" / "quickstart.yaml", help="YAML file of the run")
    parser.add_argument("--architectures", type=int, default=60)
    parser.add_argument("--batches", type=int, default=8, help="batches of eight held-out clips")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.architectures < 2 or options.batches < 1:
        parser.error("at least two architectures and one batch")
    return options


def scored(
    space: SearchSpace,
    supernet: Path,
    clips: DataSplit,
    architectures: Sequence[Architecture],
    batches: int,
    kind: WeightKind,
    *,
    seed: int = 0,
) -> Losses:
    """The held-out loss of each architecture with a kind of weights, by its id."""
    quality = held_out_quality(space, supernet, clips, batches=batches, weights=kind, seed=seed)
    losses = {}
    with progress_bar(f"scoring {kind}", len(architectures)) as advance:
        for architecture in architectures:
            losses[architecture.id] = quality.score(architecture)
            advance(architecture.id)
    return losses


def network_bytes(space: SearchSpace, kind: WeightKind) -> int:
    """Bytes of the weights of the largest network."""
    network = VideoUNet(space.lower(extreme_architectures(space)[1]))
    return sum(weight_format(kind).stored_bits(weight.shape) for weight in network.parameters()) // 8


def report(losses: Mapping[str, Losses], others: Losses, sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    """A row for each kind of weights, and one for fp32 on other clips."""
    plain = losses["fp32"]
    rows = []
    for kind, found in (*losses.items(), (OTHER_CLIPS, others)):
        added = [100 * (found[one] / plain[one] - 1) for one in plain]
        same_clips = kind in losses
        rows.append(
            {
                "weights": kind,
                "size_bytes": sizes.get(kind),
                "loss": fmean(found.values()),
                "increase_percent": fmean(added) if same_clips else None,
                "largest_increase_percent": max(added) if same_clips else None,
                "kendall_tau": float(kendalltau([*plain.values()], [found[one] for one in plain]).statistic),
            }
        )
    return rows


def _show(rows: Sequence[Mapping[str, Any]], architectures: int, batches: int) -> None:
    title = f"{architectures} architectures, {batches} batches of 8 held-out clips"
    table = Table("weights", title=title, title_justify="left")
    for name in ("size, MB", "held-out loss", "increase, %", "largest increase, %", "Kendall's tau"):
        table.add_column(name, justify="right")
    for row in rows:
        size = row["size_bytes"] and f"{row['size_bytes'] / 1e6:.2f}"
        increases = (row[name] for name in ("increase_percent", "largest_increase_percent"))
        cells = [size, f"{row['loss']:.5f}", *(None if value is None else f"{value:.3f}" for value in increases)]
        table.add_row(row["weights"], *(cell or "" for cell in cells), f"{row['kendall_tau']:.3f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
