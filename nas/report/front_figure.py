"""The figure of a search: all scored architectures, the front, and its hypervolume over the evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.formatting import counted
from nas.report.front_history import draw_history
from nas.report.front_listing import Caption
from nas.report.front_panels import Marks, draw_search_stage, draw_second_stage
from nas.report.front_range import outside
from nas.report.style import add_title, check_format, new_figure, save_figure
from nas.search import StudyRecord, hypervolume_history
from nas.search.latencies.devices import LatencyBudget
from nas.space import Architecture

PANEL_WIDTH_IN, SECOND_PANEL_IN = 9.0, 4.0
FRONT_HEIGHT_IN, HISTORY_HEIGHT_IN = 4.6, 1.5


def plot_front(
    record: StudyRecord,
    path: str | Path,
    *,
    latency_budget_ms: LatencyBudget | None = None,
    chosen: Architecture | None = None,
    reference: tuple[float, float] | None = None,
) -> Path:
    """Draw quality against latency, and hypervolume against evaluations.

    A study whose members were scored again is drawn in both stages; `record.searched` draws the search alone.

    Args:
        record: The study; it may be empty.
        path: Figure to write; its suffix, .png, .svg or .pdf, decides the format.
        latency_budget_ms: A budget to draw, of several devices by device; architectures over it are marked. The study's
            budget by default.
        chosen: The architecture that was picked.
        reference: Reference point of the hypervolume: quality, and latency in ms; the worst scored by default.

    Raises:
        ConfigError: The suffix is unknown, the reference is not finite, or the budget names an unknown device.
    """
    path = check_format(path)
    figure = draw_front(record, latency_budget_ms=latency_budget_ms, chosen=chosen, reference=reference)
    return save_figure(figure, path)


def draw_front(
    record: StudyRecord,
    *,
    latency_budget_ms: LatencyBudget | None = None,
    chosen: Architecture | None = None,
    reference: tuple[float, float] | None = None,
) -> Figure:
    """The figure of `plot_front`, to show in a notebook or to draw on; each axes is labelled with its part."""
    budget = record.latency_budget if latency_budget_ms is None else latency_budget_ms
    history = hypervolume_history(record, reference)
    marks = Marks(record.device_limits(budget), chosen)
    hidden = max(len(outside(stage, marks.places(stage))) for stage in (record, record.final))
    caption = Caption(record, chosen, latency_caption(record), hidden, _width_in(record))
    figure, parts = _layout(record, caption, with_history=history is not None)
    if record.final_scores is None:
        _title(parts["front"], record, draw_search_stage(parts["front"], record, marks))
    else:
        rows = draw_search_stage(parts["search"], record, marks)
        draw_second_stage(parts["front"], record, marks)
        _stage_titles(parts, record, rows)
    if history is not None:
        draw_history(parts["history"], history, "share" if record.of_shares else "ms")
    caption.write(parts["caption"])
    return figure


def latency_caption(record: StudyRecord) -> str:
    """The origin of a study's latencies, as a sentence."""
    kinds = " and ".join(record.provenance)
    if record.devices:
        return _devices_caption(record)
    if record.one_call:
        return f"Latency of one call, {kinds}, on {record.device}, {record.runtime}."
    source = f"{kinds} block latencies".strip()
    return (
        f"Latency of one clip: text encoder + {record.steps} x denoising network + decoder, predicted from {source} "
        f"on {record.device}, {record.runtime}."
    )


def _devices_caption(record: StudyRecord) -> str:
    """What is minimised, the budgets, and the origin of the latencies on each of several devices."""
    limits = ", ".join(f"{limit_ms:,.6g} ms on {device}" for device, limit_ms in record.limits_ms.items())
    call = "one call" if record.one_call else f"one clip, {counted(record.steps, 'step')}"
    sources = "; ".join(
        f"{' and '.join(record.provenance_on(name))} on {device.device}, {device.runtime}".strip()
        for name, device in record.devices.items()
    )
    budgets = f" Latency budgets: {limits}." if limits else ""
    return f"Minimised: {record.second_text}.{budgets} Latency of {call}: {sources}."


def _width_in(record: StudyRecord) -> float:
    return PANEL_WIDTH_IN + (0 if record.final_scores is None else SECOND_PANEL_IN)


def _layout(record: StudyRecord, caption: Caption, *, with_history: bool) -> tuple[Figure, dict[Any, Axes]]:
    """An empty figure and its parts: one panel or two, the history, and the text."""
    rows: list[Any] = [["front"] if record.final_scores is None else ["search", "front"]]
    heights = [FRONT_HEIGHT_IN]
    if with_history:
        rows.append(["history"] * len(rows[0]))
        heights.append(HISTORY_HEIGHT_IN)
    rows.append(["caption"] * len(rows[0]))
    heights.append(caption.height_in)
    figure = new_figure(_width_in(record), sum(heights))
    return figure, figure.subplot_mosaic(rows, height_ratios=heights)


def _title(axes: Axes, record: StudyRecord, legend_rows: int) -> None:
    if not record.evaluations:
        add_title(axes, f"{record.space}: nothing scored yet")
        axes.set(xticks=[], yticks=[])
        return
    scored = len(record.evaluations)
    add_title(axes, f"{record.space}: {len(record.front)} of {scored:,} architectures are on the front", legend_rows)


def _stage_titles(parts: Mapping[Any, Axes], record: StudyRecord, legend_rows: int) -> None:
    final = record.final
    search = f"{record.space}, search: {len(record.front)} of {len(record.evaluations):,} on its front"
    again = f"scored again: {len(final.front)} of {len(final.evaluations):,} on the final front"
    for name, title in (("search", search), ("front", again)):
        add_title(parts[name], title, legend_rows)
