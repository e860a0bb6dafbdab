"""The panels of the front's figure: quality against latency, in the search and in the second stage."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from nas.report.front_range import axis_ranges, clipped, intervals_fit, outside
from nas.report.style import BLUE, FAINT, GREEN, INK, ORANGE, VERMILION, tidy
from nas.search import FrontMember, StudyRecord
from nas.search.latencies.devices import SHARE
from nas.search.noise.differences import own_standard_errors
from nas.search.results.evaluation import Evaluation
from nas.search.results.second_intervals import intervals_label, second_interval
from nas.space import Architecture

LABEL_COLUMNS = 52
"""Longer axis labels are wrapped, to fit the axis."""

ONE_ROW, TWO_ROWS = 6, 4
"""Entries of a legend that fit in a row above a panel of full width; columns of a legend that needs two rows."""


@dataclass(frozen=True)
class Marks:
    """Marks that are drawn in every panel.

    Args:
        limits_ms: Limits to draw, by device.
        chosen: The architecture that was picked.
    """

    limits_ms: Mapping[str, float]
    chosen: Architecture | None

    def over(self, evaluation: Evaluation) -> bool:
        """Whether an evaluation exceeds a limit, or a budget of its study."""
        limits_ms = self.limits_ms.items()
        return any(evaluation.latency_on(name) > limit for name, limit in limits_ms) or not evaluation.feasible

    def line(self, record: StudyRecord) -> tuple[float, str] | None:
        """The limit as a value of the second objective, and as text; `None` if it is none.

        A share is one of the study's budgets, so other limits have no place on its axis.
        """
        if record.of_shares:
            return (1.0, "budget, share 1") if dict(self.limits_ms) == dict(record.limits_ms) else None
        limits_ms = self.limits_ms.values() if record.which is None else [self.limits_ms.get(record.which)]
        return next(((limit, f"budget, {limit:,.4g} ms") for limit in limits_ms if limit is not None), None)

    def places(self, record: StudyRecord) -> tuple[float, ...]:
        """The limit as a value to show on the axis, if there is one."""
        line = self.line(record)
        return () if line is None else (line[0],)


def draw_search_stage(axes: Axes, record: StudyRecord, marks: Marks) -> int:
    """Draw the search: all evaluations, its front, and members that left it in the second stage.

    Returns:
        Rows of the legend above it.
    """
    members = {member.trial for member in record.front}
    others = [evaluation for evaluation in record.evaluations if evaluation.trial not in members]
    _draw_points(axes, others, marks, "scored")
    _draw_front(axes, record.front, marks)
    _draw_intervals(axes, record)
    _draw_fallen(axes, record.fallen)
    _finish(axes, record, marks, record.fallen)
    return _legend(axes, ONE_ROW if record.final_scores is None else TWO_ROWS)


def draw_second_stage(axes: Axes, record: StudyRecord, marks: Marks) -> None:
    """Draw the second stage: the final front, members that left it, and architectures that were never on it."""
    final = record.final
    members, fallen = {member.trial for member in final.front}, {member.trial for member in record.fallen}
    behind = [evaluation for evaluation in final.evaluations if evaluation.trial not in members | fallen]
    _draw_points(axes, behind, marks, "scored again")
    _draw_front(axes, final.front, marks, label="final front")
    _draw_intervals(axes, final)
    left = [evaluation for evaluation in final.evaluations if evaluation.trial in fallen]
    _draw_fallen(axes, left)
    _finish(axes, final, marks, left)
    _legend(axes, ONE_ROW, only=("scored again", "final front"))  # the rest is explained beside it


def _draw_points(axes: Axes, points: Sequence[Evaluation], marks: Marks, label: str) -> None:
    within = [point for point in points if not marks.over(point)]
    over = [point for point in points if marks.over(point)]
    if within:
        axes.scatter(*_columns(within), s=22, color=FAINT, label=label, zorder=2)
    if over:
        axes.scatter(*_columns(over), s=24, color=VERMILION, alpha=0.55, marker="x", label="over budget", zorder=2)


def _draw_front(axes: Axes, front: Sequence[FrontMember], marks: Marks, label: str = "front") -> None:
    if front:
        second, quality = _columns(front)
        # Between two members, the best quality is that of the faster one.
        axes.step(second, quality, where="post", color=BLUE, linewidth=1.6, zorder=3)
        filled = ["white" if marks.over(member) else BLUE for member in front]
        axes.scatter(second, quality, s=32, c=filled, edgecolor=BLUE, linewidth=1.4, zorder=4)
        axes.scatter([], [], s=32, color=BLUE, label=label)
        _draw_noise(axes, front)


def _draw_intervals(axes: Axes, record: StudyRecord) -> None:
    """A bar over the interval of each member's latency or share, where that is known; the legend says what it is."""
    known = [(member, ends) for member in record.front if (ends := second_interval(member, record)) is not None]
    if not known or not intervals_fit(record):
        return
    second, quality = _columns([member for member, _ in known])
    below = [max(value - low, 0) for value, (_, (low, _)) in zip(second, known, strict=True)]
    above = [max(high - value, 0) for value, (_, (_, high)) in zip(second, known, strict=True)]
    axes.errorbar(
        second, quality, xerr=[below, above], fmt="none", ecolor=BLUE, elinewidth=1, capsize=2.5, alpha=0.45, zorder=3,
        label=intervals_label(record.front, record),
    )  # fmt: skip


def _draw_noise(axes: Axes, front: Sequence[FrontMember]) -> None:
    """A bar of one standard error on either side of each member, where that is known."""
    errors = own_standard_errors([member.quality_parts for member in front])
    known = [(member, error) for member, error in zip(front, errors, strict=True) if error is not None]
    if known:
        latency_ms, quality = _columns([member for member, _ in known])
        bars = [error for _, error in known]
        axes.errorbar(latency_ms, quality, yerr=bars, fmt="none", ecolor=BLUE, elinewidth=1, alpha=0.5, zorder=3)


def _draw_fallen(axes: Axes, fallen: Sequence[Evaluation]) -> None:
    if fallen:
        axes.scatter(
            *_columns(fallen), s=64, color=ORANGE, marker="X", edgecolor="white", linewidth=0.7,
            label="fell off the front", zorder=5,
        )  # fmt: skip


def _finish(axes: Axes, record: StudyRecord, marks: Marks, fallen: Sequence[Evaluation]) -> None:
    """Budget, choice, numbers and labels."""
    line = marks.line(record)
    if line is not None:
        limit, label = line
        style = {"color": VERMILION, "linewidth": 1.3, "linestyle": (0, (5, 3))}
        axes.axvline(limit, label=label, zorder=1, **style)  # type: ignore[arg-type]
    chosen = [evaluation for evaluation in record.evaluations if evaluation.architecture == marks.chosen]
    if chosen:
        axes.scatter(
            *_columns(chosen), s=150, facecolor="none", edgecolor=GREEN, linewidth=2.2, label="chosen", zorder=6
        )
        # Another architecture at the same place may have left the front; the ring is not around its cross.
        if not {member.trial for member in chosen} & {member.trial for member in fallen}:
            axes.scatter(*_columns(chosen), s=60, color=BLUE, zorder=7)
    _draw_outside(axes, record, marks.places(record))
    _label(axes, record)


def _draw_outside(axes: Axes, record: StudyRecord, also: Sequence[float]) -> None:
    """Set the ranges of the axes, and mark at their ends what lies beyond."""
    ranges = axis_ranges(record, also)
    if ranges is None:
        return
    members = {member.trial for member in record.front}
    for scored in outside(record, also):
        place = clipped(scored, ranges)
        colour = BLUE if scored.trial in members else FAINT
        beside = place[0] != scored.second
        up, right = scored.quality > place[1], scored.second > place[0]
        marker = (">" if right else "<") if beside else ("^" if up else "v")
        axes.scatter(*place, s=46, color=colour, marker=marker, zorder=8, clip_on=False)
    axes.set(xlim=ranges[0], ylim=ranges[1])


def _label(axes: Axes, record: StudyRecord) -> None:
    better = "lower" if record.direction == "minimize" else "higher"
    what = "one call" if record.one_call else "one clip"
    place = "" if record.which is None else f" on {record.which}"
    label = f"{SHARE}, no unit" if record.of_shares else f"latency of {what}{place}, ms"
    axes.set_xlabel(f"{label} (lower is better)", color=INK)
    axes.set_ylabel(textwrap.fill(f"{record.quality} ({better} is better)", LABEL_COLUMNS), color=INK)
    tidy(axes)


def _legend(axes: Axes, one_row: int, only: Sequence[str] | None = None) -> int:
    """The legend above a panel, with all entries or only some, and the rows it takes: one if so many entries fit."""
    handles, labels = axes.get_legend_handles_labels()
    kept = [(handle, label) for handle, label in zip(handles, labels, strict=True) if only is None or label in only]
    columns = ONE_ROW if len(kept) <= one_row else TWO_ROWS
    if kept:
        axes.legend(
            *zip(*kept, strict=True),
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=columns, frameon=False, fontsize=9, handletextpad=0.4,
            columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
    return -(-len(kept) // columns)


def _columns(evaluations: Sequence[Evaluation]) -> tuple[list[float], list[float]]:
    return [member.second for member in evaluations], [member.quality for member in evaluations]
