"""The figure of prediction errors by slot and layer."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.errors import ConfigError
from nas.latency import CheckReport, error_contributions
from nas.latency.prediction.contributions import ErrorContribution
from nas.report.style import BLUE, FAINT, INK, MUTED, VERMILION, add_title, check_format, new_figure, save_figure, tidy
from nas.space import SearchSpace

WIDTH_IN, ROW_HEIGHT_IN, MARGIN_IN = 8.0, 0.2, 2.0
SLOT_GAP = 0.6
"""Gap between two slots, in rows."""

CAPTION_COLUMNS = 118


def plot_error_contributions(
    space: SearchSpace, report: CheckReport, path: str | Path, *, measured_on: str | None = None
) -> Path:
    """Draw the mean prediction error of the checked networks with each layer in each slot.

    Args:
        space: The search space.
        report: The check, of at least one network.
        path: Figure to write; its suffix, .png, .svg or .pdf, decides the format.
        measured_on: Device and runtime, for the caption.

    Raises:
        ConfigError: The suffix is unknown, or there is nothing to draw.
        ArchitectureError: A network of the report is not one of the space.
    """
    path = check_format(path)
    if not report.checks or not space.slots:
        raise ConfigError("there are no checks to draw", where=path)
    return save_figure(draw_error_contributions(space, report, measured_on=measured_on), path)


def draw_error_contributions(space: SearchSpace, report: CheckReport, *, measured_on: str | None = None) -> Figure:
    """The figure of `plot_error_contributions`, to show in a notebook or to draw on."""
    errors = error_contributions(space, report)
    places = _places(errors)
    figure = new_figure(WIDTH_IN, MARGIN_IN + ROW_HEIGHT_IN * places[-1])
    axes = figure.subplots()
    overall = 100 * sum(check.error for check in report.checks) / len(report.checks)
    axes.axvline(0, color=MUTED, linewidth=1)
    axes.axvline(overall, color=VERMILION, linewidth=1.2, linestyle=(0, (5, 3)),
                 label=f"mean over all {len(report.checks)} networks, {overall:+.2g}%")  # fmt: skip
    _draw_means(axes, errors, places)
    _label(axes, errors, places)
    add_title(axes, "Prediction error by slot and layer")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, frameon=False, fontsize=8.5)
    figure.supxlabel("\n".join(textwrap.wrap(_caption(measured_on), CAPTION_COLUMNS)), x=0.02, ha="left", fontsize=8,
                     color=MUTED)  # fmt: skip
    return figure


def _places(errors: Sequence[ErrorContribution]) -> list[float]:
    """The height of each row, from the top, with a gap between slots."""
    places = [0.0]
    for before, error in itertools.pairwise(errors):
        places.append(places[-1] + 1 + SLOT_GAP * (error.slot != before.slot))
    return places


def _draw_means(axes: Axes, errors: Sequence[ErrorContribution], places: Sequence[float]) -> None:
    known = [(place, error) for place, error in zip(places, errors, strict=True) if error.mean_percent is not None]
    axes.errorbar(
        [error.mean_percent or 0.0 for _, error in known],
        [place for place, _ in known],
        xerr=[error.standard_error_percent or 0.0 for _, error in known],
        fmt="o", markersize=5, color=BLUE, ecolor=BLUE, elinewidth=1.3, capsize=2.5, label="mean and standard error",
    )  # fmt: skip


def _label(axes: Axes, errors: Sequence[ErrorContribution], places: Sequence[float]) -> None:
    axes.set_ylim(places[-1] + 0.8, -0.8)
    axes.set_yticks(places, [f"{error.slot}  {error.candidate}" for error in errors])
    axes.margins(x=0.08)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3g}%" if abs(value) > 1e-9 else "0")
    axes.set_xlabel("error of the prediction (+: too high)", color=INK)
    tidy(axes)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.grid(visible=False, axis="y")
    for place, error in zip(places, errors, strict=True):
        axes.text(1.015, place, f"{error.networks}", transform=axes.get_yaxis_transform(), ha="left", va="center",
                  fontsize=8, color=MUTED if error.networks else FAINT)  # fmt: skip
    axes.text(1.015, -0.8, "networks", transform=axes.get_yaxis_transform(), ha="left", va="bottom", fontsize=8,
              color=MUTED)  # fmt: skip


def _caption(measured_on: str | None) -> str:
    """The caption: what is drawn, and where it was measured."""
    measured = f" Measured on {measured_on}." if measured_on else ""
    return (
        "Mean of predicted / measured - 1 over the checked networks with a layer in a slot. Every network has "
        "a layer in each slot, so a mean that differs makes the layer suspect, but does not prove it the cause. "
        f"No bar: one network.{measured}"
    )
