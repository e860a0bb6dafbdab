"""The heat map of a latency table: what each layer takes in each place of a search space."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from nas.errors import ConfigError
from nas.latency import LatencyRow, LatencyTable
from nas.latency.measuring.recorded import statistic_text
from nas.report.latency_rows import conditions_text, provenance_text
from nas.report.style import FAINT, INK, MUTED, add_title, check_format, new_figure, save_figure
from nas.space import SearchSpace

CELL_WIDTH_IN, CELL_HEIGHT_IN = 0.95, 0.42
MARGIN_IN, LEAST_WIDTH_IN = (3.4, 2.0), 7.0
COLOURS = "Blues"
DARK = 0.65
"""From this share of the colour scale on, text is white."""

Place = tuple[str, str]
"""A slot and a candidate of it."""


def plot_latency_heat_map(space: SearchSpace, table: LatencyTable, path: str | Path) -> Path:
    """Draw the latency of each temporal layer in each slot.

    Args:
        space: The search space.
        table: A table that has all of its temporal layers.
        path: Figure to write; its suffix, .png, .svg or .pdf, decides the format.

    Raises:
        ConfigError: The suffix is unknown, or the space has no temporal layer.
        TableError: A layer is not in the table.
    """
    path = check_format(path)
    return save_figure(draw_latency_heat_map(space, table), path)


def draw_latency_heat_map(space: SearchSpace, table: LatencyTable) -> Figure:
    """The figure of `plot_latency_heat_map`, to show in a notebook or to draw on."""
    rows = _placed_rows(space, table)
    names = list(dict.fromkeys(name for _, name in rows))
    if not names:
        raise ConfigError("no slot offers a temporal layer, there is nothing to draw", where=space.where)
    slots = [slot.id for slot in space.slots]
    width = max(MARGIN_IN[0] + CELL_WIDTH_IN * len(slots), LEAST_WIDTH_IN)
    figure = new_figure(width, MARGIN_IN[1] + CELL_HEIGHT_IN * len(names))
    axes = figure.subplots()
    scale = _scale(rows)
    _draw_cells(axes, {(names.index(name), slots.index(slot)): row for (slot, name), row in rows.items()}, scale)
    axes.set(xlim=(-0.5, len(slots) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.set_xticks(range(len(slots)), slots)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("slot (stage/position), from the input to the output", color=INK)
    _draw_colour_bar(figure, axes, scale)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.spines[:].set_visible(False)
    add_title(axes, f"{space.name}: ms per call of each temporal layer")
    caption = textwrap.wrap(_caption(table, rows), int(13 * width))
    figure.supxlabel("\n".join(caption), x=0.02, ha="left", fontsize=8, color=MUTED)
    return figure


def _placed_rows(space: SearchSpace, table: LatencyTable) -> dict[Place, LatencyRow]:
    """The row of each candidate in each slot, taken from plans; `none` places no block."""
    # `LatencyTable.row` raises an error for a missing block; a block that cannot run is drawn as such.
    return {
        place: table.rows.get(block.key) or table.row(block, space=space.where)
        for place, block in space.placed_blocks().items()
    }


def _scale(rows: Mapping[Place, LatencyRow]) -> LogNorm:
    """A logarithmic scale, because latencies are compared by ratios; the margin keeps a single value on the scale."""
    latencies_ms = [row.latency_ms for row in rows.values() if row.latency_ms is not None] or [1.0]
    return LogNorm(0.9 * min(latencies_ms), 1.1 * max(latencies_ms))


def _draw_colour_bar(figure: Figure, axes: Axes, scale: LogNorm) -> None:
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), ax=axes, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=8, which="both", length=2)
    # One, two and five of each power of ten: a scale of less than that would have no labels at all.
    low_ms, high_ms = scale.vmin or 0.0, scale.vmax or 0.0
    wide = high_ms > 100 * low_ms
    every = [part * 10.0**power for power in range(-6, 9) for part in ((1,) if wide else (1, 2, 5))]
    ticks = [tick for tick in every if low_ms <= tick <= high_ms]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks], minor=False)
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label("ms per call, logarithmic", color=INK, fontsize=9)


def _draw_cells(axes: Axes, rows: Mapping[tuple[int, int], LatencyRow], scale: LogNorm) -> None:
    colours = mpl.colormaps[COLOURS]
    mixed = len({cell.provenance for cell in rows.values()}) > 1
    for (row, column), cell in rows.items():
        if cell.latency_ms is None:
            _draw_refused(axes, row, column, cell)
            continue
        share = float(scale(cell.latency_ms))
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colours(share), edgecolor="white"))
        colour = "white" if share > DARK else INK
        text = _number(cell.latency_ms) + (f"\n{cell.provenance}" if mixed else "")
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5 if mixed else 9, color=colour)


def _draw_refused(axes: Axes, row: int, column: int, cell: LatencyRow) -> None:
    axes.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor="white", edgecolor=FAINT, hatch="////", linewidth=0)
    )
    text = {"out_of_memory": "out of\nmemory", "over_memory_budget": "over\nbudget", "failed": "failed"}[cell.status]
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=INK, bbox=box)


def _number(latency_ms: float) -> str:
    return f"{latency_ms:,.0f}" if latency_ms >= 100 else f"{latency_ms:#.3g}"


def _caption(table: LatencyTable, rows: Mapping[Place, LatencyRow]) -> str:
    """The caption: the source of the latencies, and the meaning of hatched cells."""
    kinds = provenance_text(rows.values()) or "no"
    sentences = [f"{kinds[0].upper()}{kinds[1:]} latency at batch 1 on {conditions_text(table.metadata)}."]
    if kinds == "measured":
        sentences.append(f"Latencies: {statistic_text(table.metadata.statistic)}.")
    if not all(row.usable for row in rows.values()):
        sentences.append("Hatched: could not run there.")
    return " ".join([*sentences, "Empty: not a candidate of that slot."])
