"""How long should a backbone be trained before a supernet starts from it?

    python benchmarks/backbone_length.py --out runs/backbone_length [--lengths 300,600,...] [--supernet-steps 600]

Trains the network without temporal layers on `moving_shapes` for each of --lengths. Each length has its own schedule,
which ends at a learning rate of zero; all start from the same weights, with the settings of ranking.py. From each
backbone, one `uniform` supernet per seed is trained for the same number of steps, with the backbone frozen.

Prints the backbone's loss on single held-out frames, on single frames that it was trained on, and on held-out clips.
Prints of its supernets: the held-out loss of the architectures that ranking.py compares, their mean and the best; and
the agreement of their ranking with that of the supernets from the longest backbone (in the last row: of those with each
other). All losses use the same clips, noise and noise levels. "By doubling" is how much lower the loss is than that of
the length before, for each doubling of the steps. Passes are passes over all frames. "Seeds apart" is the difference of
the mean losses of supernets from one backbone.

--out gets `backbone_length.json` and `backbone_length.png`. The same command resumes with what is there. Minutes are
wall time of the backbone's training, and need an otherwise idle machine. "As trained" is the loss that `nas train`
prints at the end, of a few training batches.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from benchmarks.backbone_length_figure import plot_lengths
from benchmarks.ranking_runs import (
    BACKBONE_SEED,
    BATCHES,
    HELD_OUT_SEED,
    SETTINGS,
    Job,
    clips_of,
    run_all,
    spread,
)
from nas.data import CaptionedClips, Clip, ClipShape
from nas.data.clips.dataset import ClipDataset, checked_index
from nas.files import fingerprint, write_json
from nas.models import SuperNet, VideoModel, make_codec, make_text_encoder
from nas.quality import HeldOutFlowLoss
from nas.runtimes import get_runtime
from nas.space import NONE, Architecture, SearchSpace
from nas.training import SuperNetConfig, TrainingConfig

ROOT = Path(__file__).resolve().parents[1]
LENGTHS = (300, 600, 1200, 2400, 4800, 9600)
PRINTED_ROWS = 20  # of metrics.csv, whose mean `nas train` prints as the loss

Losses = Mapping[str, float]
Row = dict[str, Any]


class SingleFrames(ClipDataset):
    """One frame of each clip, as a clip of one frame: the first of the first clip, the second of the second, ..."""

    def __init__(self, clips: ClipDataset) -> None:
        whole = clips.shape
        shape = ClipShape(1, whole.height, whole.width, whole.fps)
        super().__init__(shape, clips.names, clips.captions, fingerprint(["single frames", clips.fingerprint]))
        self.clips = clips

    def __getitem__(self, index: int) -> Clip:
        """The frame of the clip at `index`."""
        index = checked_index(index, len(self))
        clip, frame = self.clips[index], index % self.clips.shape.frames
        return Clip(clip.name, clip.caption, clip.video_TCHW[frame : frame + 1])


def main() -> None:
    """Run the benchmark."""
    options = _options()
    space = SearchSpace.load(options.space)
    if any(NONE not in slot.candidates for slot in space.slots):
        sys.exit(f"error: {options.space}: every slot must offer none")
    if options.architectures > space.count():
        sys.exit(f"error: --architectures {options.architectures}: {options.space} has {space.count()}")
    architectures = spread(space, options.architectures, seed=0)
    # Longest first: one of them at the end would leave a CPU core idle.
    backbones = {steps: _backbone(options, space, steps) for steps in reversed(options.lengths)}
    supernets = {
        (steps, seed): _supernet(options, steps, seed, architectures)
        for steps, seed in product(backbones, range(options.seeds))
    }
    found = run_all(list(backbones.values()), options.out, options.workers)
    found |= run_all(list(supernets.values()), options.out, options.workers)
    scored = {steps: [found[supernets[steps, seed].name] for seed in range(options.seeds)] for steps in options.lengths}
    on_clips = {steps: next(iter(found[backbones[steps].name].values())) for steps in options.lengths}
    report = _report(options, space, on_clips, scored)
    write_json(options.out / "backbone_length.json", report)
    plot_lengths(report, options.out / "backbone_length.png")
    sys.stdout.write(json.dumps(report, indent=2) + "\n") if options.json else _show(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "moving_shapes.yaml")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)), help="steps of the backbones")
    parser.add_argument("--supernet-steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2, help="supernets from each backbone")
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        options.lengths = tuple(sorted({int(each) for each in options.lengths.split(",")}))
    except ValueError:
        parser.error(f"--lengths {options.lengths}: numbers of steps, separated by commas")
    if len(options.lengths) < 2 or options.lengths[0] < 1:
        parser.error("--lengths: at least two, of 1 step or more")
    if min(options.supernet_steps, options.seeds, options.workers, options.architectures - 2) < 1:
        parser.error("at least 3 architectures, and 1 of everything else")
    return options


def _backbone(options: argparse.Namespace, space: SearchSpace, steps: int) -> Job:
    config = TrainingConfig(steps=steps, seed=BACKBONE_SEED, **SETTINGS)
    return Job(f"backbone-{steps}", options.space, config, (space.without_layers(),))


def _supernet(options: argparse.Namespace, steps: int, seed: int, architectures: tuple[Architecture, ...]) -> Job:
    config = SuperNetConfig(steps=options.supernet_steps, seed=seed, freeze_backbone=True, **SETTINGS)
    start = options.out / f"backbone-{steps}" / "model"
    return Job(f"supernet-{steps}-{seed}", options.space, config, architectures, start)


def _report(
    options: argparse.Namespace,
    space: SearchSpace,
    on_clips: Mapping[int, float],
    scored: Mapping[int, Sequence[Losses]],
) -> dict[str, Any]:
    """Everything that is printed and drawn; a row per length."""
    clips, frames_per_clip = clips_of(space), space.file.video.frames
    sides = {name: _on_frames(space, side) for name, side in (("frames", clips.validation), ("seen", clips.train))}
    frames = frames_per_clip * len(clips.train)
    per_step = frames_per_clip * SETTINGS["batch_size"] + SETTINGS["image_batch_size"]
    longest = scored[options.lengths[-1]]
    rows: list[Row] = []
    for steps in options.lengths:
        folder = options.out / f"backbone-{steps}"
        model, logged = VideoModel.load(folder / "model"), _logged(folder)
        losses = {name: held_out.loss_of(model.unet, model.text_encoder) for name, held_out in sides.items()}
        rows.append(
            {"steps": steps, "passes": steps * per_step / frames, **logged, **losses, "clips": on_clips[steps],
             **_architectures(scored[steps]), "kendall_tau": agreement(scored[steps], longest)}
        )  # fmt: skip
    return {
        "space": space.name,
        "training_frames": frames,
        "frames_per_step": per_step,
        "supernet_steps": options.supernet_steps,
        "seeds": options.seeds,
        "architectures": options.architectures,
        "processor": get_runtime("torch", threads=1).device,
        "rows": [row | gains(row, before) for row, before in zip(rows, [None, *rows], strict=False)],
    }


def _on_frames(space: SearchSpace, clips: CaptionedClips) -> HeldOutFlowLoss:
    """The metric of searches, on single frames; networks with their own weights need no trained supernet."""
    assert isinstance(clips, ClipDataset)
    parts = SuperNet(space), make_text_encoder(space), make_codec(space), SingleFrames(clips)
    return HeldOutFlowLoss(*parts, seed=HELD_OUT_SEED, batches=BATCHES, shift=SETTINGS["timestep_shift"])


def _logged(folder: Path) -> Row:
    """What a training reports: its minutes, its fastest steps, and the loss that `nas train` would print."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    printed = [float(row["loss"]) for row in rows[-PRINTED_ROWS:]]
    clock = [(0, 0.0), *((int(row["step"]), float(row["elapsed_s"])) for row in rows)]
    step_ms = min(1000 * (after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(clock))
    return {"minutes": clock[-1][1] / 60, "fastest_step_ms": step_ms, "training": statistics.fmean(printed)}


def _architectures(losses: Sequence[Losses]) -> Row:
    """Mean and lowest loss of the architectures, over supernets with different seeds and of each supernet."""
    means, least = [statistics.fmean(one.values()) for one in losses], [min(one.values()) for one in losses]
    return {
        "mean": statistics.fmean(means),
        "best": statistics.fmean(least),
        "mean_by_seed": means,
        "best_by_seed": least,
    }


def agreement(losses: Sequence[Losses], longest: Sequence[Losses]) -> float | None:
    """Mean Kendall tau of rankings with those from the longest backbone, and of the latter with each other.

    Args:
        losses: By architecture, of each supernet.
        longest: The same of the supernets from the longest backbone.

    Returns:
        `None` where there is but one ranking, and nothing to compare it with, or where one has nothing but ties.
    """
    pairs = combinations(longest, 2) if losses is longest else product(losses, longest)
    taus = [float(kendalltau([*one.values()], [two[each] for each in one]).statistic) for one, two in pairs]
    return statistics.fmean(taus) if taus and all(map(math.isfinite, taus)) else None


def gains(row: Row, before: Row | None) -> Row:
    """Relative decrease of losses since the length before, for each doubling of the steps."""
    if before is None:
        return {"frames_by_doubling": None, "mean_by_doubling": None}
    doublings = math.log2(row["steps"] / before["steps"])
    return {f"{key}_by_doubling": 1 - (row[key] / before[key]) ** (1 / doublings) for key in ("frames", "mean")}


def _show(report: Mapping[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    title = f"{report['space']}: backbones, and {report['architectures']} architectures in {report['seeds']} supernets "
    title += f"of {report['supernet_steps']:,} steps from each; mean and best of these"
    columns = ("steps", "passes", "minutes", "as trained", "trained frames", "held-out frames", "by doubling",
               "held-out clips", "mean", "by doubling", "seeds apart", "best", "tau")  # fmt: skip
    table = Table(*columns, title=title, title_justify="left")
    for row in report["rows"]:
        apart = max(row["mean_by_seed"]) - min(row["mean_by_seed"])
        table.add_row(
            f"{row['steps']:,}", f"{row['passes']:.1f}", f"{row['minutes']:.1f}", f"{row['training']:.4f}",
            f"{row['seen']:.4f}", f"{row['frames']:.4f}", _percent(row["frames_by_doubling"]), f"{row['clips']:.4f}",
            f"{row['mean']:.4f}", _percent(row["mean_by_doubling"]), f"{apart:.4f}" if report["seeds"] > 1 else "",
            f"{row['best']:.4f}", "" if row["kendall_tau"] is None else f"{row['kendall_tau']:.3f}",
        )  # fmt: skip
    console.print(table)
    fastest_ms = min(row["fastest_step_ms"] for row in report["rows"])
    console.print(
        f"a pass is {report['training_frames']:,} frames, a step reads {report['frames_per_step']}; one thread of "
        f"{report['processor']}, {fastest_ms:.0f} ms a step where it was fastest"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}%"


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
