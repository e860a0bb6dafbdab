"""The figure of `backbone_length.py`: held-out losses against the steps of the backbone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from nas.report.style import BLUE, FAINT, GREEN, INK, MUTED, VERMILION, add_title, new_figure, save_figure, tidy

WIDTH_IN, HEIGHT_IN = 10.5, 4.9
CAPTION_COLUMNS = 150

Rows = Sequence[Mapping[str, Any]]


def plot_lengths(report: Mapping[str, Any], path: Path) -> Path:
    """Draw what `backbone_length.py` reports.

    Args:
        report: With a row per length, shortest first.
        path: Figure to write, as `nas.report.style.save_figure` takes it.
    """
    figure = new_figure(WIDTH_IN, HEIGHT_IN)
    left, right = figure.subplots(1, 2)
    rows = report["rows"]
    _draw_backbones(left, rows)
    add_title(left, "The backbone, on single frames")
    _draw_architectures(right, rows)
    add_title(right, f"{report['architectures']} architectures on top of it")
    for axes in (left, right):
        _against_steps(axes, rows)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=8.5)
    caption = "\n".join(textwrap.wrap(_caption(report), CAPTION_COLUMNS))
    figure.supxlabel(caption, x=0.02, ha="left", fontsize=8, color=MUTED)
    return save_figure(figure, path)


def _draw_backbones(axes: Axes, rows: Rows) -> None:
    steps = [row["steps"] for row in rows]
    held_out, seen = ([row[key] for row in rows] for key in ("frames", "seen"))
    axes.plot(steps, seen, color=FAINT, linewidth=1.6, marker="o", markersize=4, label="frames it was trained on")
    axes.plot(steps, held_out, color=BLUE, linewidth=1.8, marker="o", markersize=5, label="held-out frames")
    _note_gains(axes, rows, "frames")
    axes.set_ylabel("flow loss", color=INK)


def _draw_architectures(axes: Axes, rows: Rows) -> None:
    """Means over the supernets of a length as lines, each supernet as a dot."""
    steps = [row["steps"] for row in rows]
    for key, colour, label in (("mean", VERMILION, "their mean"), ("best", GREEN, "the best of them")):
        axes.plot(steps, [row[key] for row in rows], color=colour, linewidth=1.8, label=label)
        points = [(row["steps"], loss) for row in rows for loss in row[f"{key}_by_seed"]]
        axes.scatter(*zip(*points, strict=True), s=18, color=colour, zorder=3)
    _note_gains(axes, rows, "mean")
    axes.set_ylabel("flow loss of held-out clips", color=INK)


def _note_gains(axes: Axes, rows: Rows, key: str) -> None:
    """Write the relative decrease of the loss since the length before above each length, per doubling of the steps."""
    for row in rows:
        gain, top = row[f"{key}_by_doubling"], max(row[key], *row.get(f"{key}_by_seed", [0.0]))
        if gain is not None:
            axes.annotate(f"{-100 * gain:+.1f}%", (row["steps"], top), xytext=(2, 6), textcoords="offset points",
                          ha="left", fontsize=8, color=MUTED)  # fmt: skip


def _against_steps(axes: Axes, rows: Rows) -> None:
    steps = [row["steps"] for row in rows]
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(steps))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("steps of the backbone", color=INK)
    axes.margins(x=0.08, y=0.12)
    tidy(axes)


def _caption(report: Mapping[str, Any]) -> str:
    """Caption of the figure: what was trained, and on what."""
    passes = report["frames_per_step"] / report["training_frames"]
    return (
        f"{report['space']}: a network without temporal layers trained for each number of steps; 1,000 steps are "
        f"{1000 * passes:.1f} passes over the {report['training_frames']:,} frames. Right: {report['seeds']} uniform "
        f"supernets of {report['supernet_steps']:,} steps from each, backbone frozen, a dot each. Percentages: change "
        "for each doubling of the steps."
    )
