"""The figure of a search: every architecture scored, and the front."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nas.report.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    VERMILION,
    add_title,
    check_format,
    new_figure,
    save_figure,
    tidy,
)
from nas.search import Evaluation, FrontMember, StudyRecord
from nas.space import NONE, Architecture

MAX_LISTED = 10
"""Members of the front that are numbered and written out below the figure."""

WIDTH_IN, AXES_HEIGHT_IN, LINE_HEIGHT_IN = 9.0, 4.6, 0.17
COLUMNS = 126
EXTRA_LINES = 4
LABEL_GAP_IN = 0.2


def plot_front(
    record: StudyRecord,
    path: str | Path,
    *,
    latency_budget_ms: float | None = None,
    chosen: Architecture | None = None,
) -> Path:
    """Draw quality against latency.

    Args:
        record: The study; it may be empty.
        path: Figure to write; its suffix, .png, .svg or .pdf, decides the format.
        latency_budget_ms: A limit to draw; what exceeds it is marked. The study's own by default.
        chosen: The architecture that was picked.

    Raises:
        ConfigError: The suffix is unknown.
    """
    path = check_format(path)
    return save_figure(draw_front(record, latency_budget_ms=latency_budget_ms, chosen=chosen), path)


def draw_front(
    record: StudyRecord, *, latency_budget_ms: float | None = None, chosen: Architecture | None = None
) -> Figure:
    """The figure of `plot_front`, to show in a notebook or to draw on."""
    budget_ms = record.latency_budget_ms if latency_budget_ms is None else latency_budget_ms
    member = next((one for one in record.evaluations if one.architecture == chosen), None)
    listed = _listed(record, member)
    entries = [_entry(number, one) for number, one in enumerate(listed, start=1)]
    height = LINE_HEIGHT_IN * (sum(map(len, entries)) + EXTRA_LINES)
    figure = new_figure(WIDTH_IN, AXES_HEIGHT_IN + height)
    axes, below = figure.subplots(2, 1, height_ratios=[AXES_HEIGHT_IN, height])
    _draw_points(axes, record, budget_ms)
    _draw_front(axes, record, budget_ms)
    _draw_choice(axes, budget_ms, member)
    _number(axes, record, listed)
    _label(axes, record)
    _write_below(below, record, list(zip(listed, entries, strict=True)), member)
    return figure


def latency_caption(record: StudyRecord) -> str:
    """Where the latencies of a study come from, in a sentence."""
    kinds = sorted({evaluation.provenance for evaluation in record.evaluations})
    source = " ".join([" and ".join(kinds), "block latencies"]).strip()
    return (
        f"Latency of one clip: text encoder + {record.steps} x denoising network + decoder, predicted from {source} "
        f"on {record.device}, {record.runtime}."
    )


def layers_text(architecture: Architecture) -> str:
    """The layers of an architecture, leaving out stages that hold none."""
    stages = [
        f"{stage}: {' '.join('-' if name == NONE else name for name in names)}"
        for stage, names in architecture.layers
        if set(names) != {NONE}
    ]
    return "; ".join(stages) or "no temporal layer"


def _over_budget(evaluation: Evaluation, latency_budget_ms: float | None) -> bool:
    exceeds = latency_budget_ms is not None and evaluation.latency_ms > latency_budget_ms
    return exceeds or not evaluation.feasible


def _draw_points(axes: Axes, record: StudyRecord, latency_budget_ms: float | None) -> None:
    members = {member.trial for member in record.front}
    rest = [one for one in record.evaluations if one.trial not in members]
    within = [one for one in rest if not _over_budget(one, latency_budget_ms)]
    over = [one for one in rest if _over_budget(one, latency_budget_ms)]
    if within:
        axes.scatter(*_columns(within), s=22, color=FAINT, label="scored", zorder=2)
    if over:
        axes.scatter(*_columns(over), s=24, color=VERMILION, alpha=0.55, marker="x", label="over budget", zorder=2)


def _draw_front(axes: Axes, record: StudyRecord, latency_budget_ms: float | None) -> None:
    if record.front:
        latency_ms, quality = _columns(record.front)
        # From one member to the next, the best there is stays what it was.
        axes.step(latency_ms, quality, where="post", color=BLUE, linewidth=1.6, zorder=3)
        filled = ["white" if _over_budget(member, latency_budget_ms) else BLUE for member in record.front]
        axes.scatter(latency_ms, quality, s=32, c=filled, edgecolor=BLUE, linewidth=1.4, zorder=4)
        axes.scatter([], [], s=32, color=BLUE, label="front")


def _draw_choice(axes: Axes, latency_budget_ms: float | None, chosen: FrontMember | None) -> None:
    if latency_budget_ms is not None:
        label = f"budget, {latency_budget_ms:,.4g} ms"
        axes.axvline(latency_budget_ms, color=VERMILION, linewidth=1.3, linestyle=(0, (5, 3)), label=label, zorder=1)
    if chosen is not None:
        axes.scatter(
            [chosen.latency_ms], [chosen.quality], s=150, facecolor="none", edgecolor=GREEN, linewidth=2.2,
            label="chosen", zorder=5,
        )  # fmt: skip


def _label(axes: Axes, record: StudyRecord) -> None:
    better = "lower" if record.direction == "minimize" else "higher"
    axes.set_xlabel("latency of one clip, ms (lower is better)", color=INK)
    axes.set_ylabel(f"{record.quality} ({better} is better)", color=INK)
    axes.margins(x=0.06, y=0.1)
    tidy(axes)
    if not record.evaluations:
        add_title(axes, f"{record.space}: nothing scored yet")
        axes.set(xticks=[], yticks=[])
        return
    scored = len(record.evaluations)
    add_title(axes, f"{record.space}: {len(record.front)} of {scored:,} architectures are on the front")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=5, frameon=False, fontsize=9, handletextpad=0.4)


def _listed(record: StudyRecord, chosen: FrontMember | None) -> list[FrontMember]:
    """The members to number: as many as there is room for, the chosen one and the ends before all others."""
    front = record.front
    spread = [front[round(index)] for index in np.linspace(0, len(front) - 1, MAX_LISTED)] if front else []
    first = [member for member in (chosen, *front[:1], *front[-1:]) if member is not None]
    kept: list[FrontMember] = []
    for member in dict.fromkeys([*first, *spread]):
        place = _place(record, member)
        room = all(np.abs(place - _place(record, other)).max() >= LABEL_GAP_IN for other in kept)
        if (room or not kept) and len(kept) < MAX_LISTED:
            kept.append(member)
    return sorted(kept, key=lambda member: (member.latency_ms, member.trial))


def _place(record: StudyRecord, one: Evaluation) -> NDArray[np.float64]:
    """Where a point comes to lie, roughly, in inches."""
    points = np.array(_columns(record.evaluations))
    span = np.ptp(points, axis=1)
    offset = np.array([one.latency_ms, one.quality]) - points.min(axis=1)
    scaled: NDArray[np.float64] = offset / np.where(span > 0, span, 1.0) * [0.8 * WIDTH_IN, 0.75 * AXES_HEIGHT_IN]
    return scaled


def _number(axes: Axes, record: StudyRecord, listed: Sequence[FrontMember]) -> None:
    """Number members on the side of the front where no point can be."""
    side = -1 if record.direction == "minimize" else 1
    for number, member in enumerate(listed, start=1):
        axes.annotate(
            str(number), (member.latency_ms, member.quality), xytext=(-8, 9 * side), textcoords="offset points",
            ha="center", va="center", fontsize=9, color=BLUE, fontweight="bold", zorder=6,
        )  # fmt: skip


def _entry(number: int, member: FrontMember) -> list[str]:
    """The lines that describe a member."""
    size = "-" if member.parameters is None else f"{member.parameters / 1e6:.2f} M"
    head = _row(str(number), f"{member.latency_ms:,.2f}", f"{member.quality:.4g}", size)
    # A line ends after a stage where it can: no-break spaces hold the names of one stage together.
    stages = [stage.replace(" ", "\xa0") for stage in layers_text(member.architecture).split("; ")]
    first, *others = textwrap.wrap("; ".join(stages), COLUMNS - len(head))
    return [line.replace("\xa0", " ") for line in (head + first, *(" " * len(head) + line for line in others))]


def _row(number: str, latency_ms: str, quality: str, parameters: str) -> str:
    return f"{number:>2} {latency_ms:>11} {quality:>10} {parameters:>11}   "


def _write_below(
    axes: Axes,
    record: StudyRecord,
    entries: Sequence[tuple[FrontMember, Sequence[str]]],
    chosen: FrontMember | None,
) -> None:
    """The numbered members, and where the latencies come from."""
    axes.axis("off")
    lines = [(_row("", "latency, ms", "quality", "parameters") + "layers", MUTED)] if entries else []
    lines += [(line, GREEN if member == chosen else INK) for member, entry in entries for line in entry]
    total = len(lines) + EXTRA_LINES - 1
    for row, (line, colour) in enumerate(lines):
        weight = "bold" if colour == GREEN else "normal"
        axes.text(0, 1 - row / total, line, fontsize=7.6, family="monospace", va="top", color=colour, fontweight=weight)
    shown, all_members = len(entries), len(record.front)
    remark = f" Listed are {shown} of the {all_members} on the front." if shown < all_members else ""
    caption = "\n".join(textwrap.wrap(latency_caption(record) + remark, 130))
    axes.text(0, 1 - (len(lines) + 0.7) / total, caption, fontsize=8, color=MUTED, va="top")


def _columns(evaluations: Sequence[Evaluation]) -> tuple[list[float], list[float]]:
    return [one.latency_ms for one in evaluations], [one.quality for one in evaluations]
