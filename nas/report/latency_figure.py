"""The figure of a latency check: predicted against measured, and how far apart."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nas.errors import ConfigError
from nas.latency import CheckReport
from nas.report.style import BLUE, GREEN, INK, MUTED, VERMILION, add_title, check_format, new_figure, save_figure, tidy

TOLERANCES = (0.01, 0.02, 0.05, 0.1)
"""The band and the title speak of the smallest of these that holds all errors, or of the last one."""

WIDTH_IN, HEIGHT_IN = 10.5, 5.4
CAPTION_COLUMNS = 150
LEAST_PERCENT = 1.0
"""The error axis reaches at least this far, so that the errors of good predictions do not look large."""

Values = NDArray[np.float64]


def plot_latency_check(report: CheckReport, path: str | Path, *, measured_on: str | None = None) -> Path:
    """Draw the predicted latency of whole networks against their measured latency, and the errors.

    Args:
        report: The check, of at least one network.
        path: Figure to write; its suffix, .png, .svg or .pdf, decides the format.
        measured_on: Device and runtime, for the caption.

    Raises:
        ConfigError: The suffix is unknown, or there is nothing to draw.
    """
    path = check_format(path)
    if not report.checks:
        raise ConfigError("there are no checks to draw", where=path)
    return save_figure(draw_latency_check(report, measured_on=measured_on), path)


def draw_latency_check(report: CheckReport, *, measured_on: str | None = None) -> Figure:
    """The figure of `plot_latency_check`, to show in a notebook or to draw on."""
    figure = new_figure(WIDTH_IN, HEIGHT_IN)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    accuracy = report.accuracy
    _draw_latencies(left, report)
    errors = [abs(check.error) for check in report.checks]
    near = sum(error <= _tolerance(report) for error in errors)
    add_title(left, f"{near} of {len(errors)} networks within {_tolerance(report):.0%}")
    _draw_errors(right, report)
    add_title(right, f"mean absolute error (MAPE) {accuracy.mape:.1%}, worst {accuracy.worst:.1%}")
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, frameon=False, fontsize=8.5)
    caption = "\n".join(textwrap.wrap(_caption(report, measured_on), CAPTION_COLUMNS))
    figure.supxlabel(caption, x=0.02, ha="left", fontsize=8, color=MUTED)
    return figure


def _draw_latencies(axes: Axes, report: CheckReport) -> None:
    measured, predicted, errors = _arrays(report)
    tolerance = _tolerance(report)
    ends = np.array([0.9 * min(measured.min(), predicted.min()), 1.1 * max(measured.max(), predicted.max())])
    axes.fill_between(ends, ends * (1 - tolerance), ends * (1 + tolerance), color=BLUE, alpha=0.1, linewidth=0,
                      label=f"within {tolerance:.0%}")  # fmt: skip
    axes.plot(ends, ends, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)), label="equal")
    _draw_points(axes, measured, predicted, np.abs(errors) <= _tolerance(report))
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel("measured latency of the denoising network, ms", color=INK)
    axes.set_ylabel("predicted latency, ms", color=INK)
    tidy(axes)


def _draw_errors(axes: Axes, report: CheckReport) -> None:
    measured, _, errors = _arrays(report)
    margin = 0.06 * (np.ptp(measured) or measured[0])
    ends = np.array([measured.min() - margin, measured.max() + margin])
    axes.axhline(0, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)))
    reach = max(float(np.abs(errors).max()), LEAST_PERCENT / 100)
    if report.noise_floor is not None:
        label = f"noise: {report.noise_floor:.1%} between two measurements"
        axes.fill_between(ends, -report.noise_floor, report.noise_floor, color=GREEN, alpha=0.22, linewidth=0,
                          label=label)  # fmt: skip
        reach = max(reach, report.noise_floor)
    interval = _interval(report)
    if interval is not None:
        axes.hlines(interval, *ends, color=BLUE, linewidth=1.2, linestyle=":", label="90% interval of the fit")
        reach = max(reach, *map(abs, interval))
    _draw_points(axes, measured, errors, np.abs(errors) <= _tolerance(report))
    axes.set(xlim=ends, ylim=(-1.15 * reach, 1.15 * reach))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:+.3g}%" if abs(value) > 1e-9 else "0")
    axes.set_xlabel("measured latency of the denoising network, ms", color=INK)
    axes.set_ylabel("error of the prediction (+: too high)", color=INK)
    tidy(axes)


def _tolerance(report: CheckReport) -> float:
    worst = max(abs(check.error) for check in report.checks)
    return next((tolerance for tolerance in TOLERANCES if worst <= tolerance), TOLERANCES[-1])


def _draw_points(axes: Axes, x: Values, y: Values, near: NDArray[np.bool_]) -> None:
    axes.scatter(x[near], y[near], s=34, color=BLUE, edgecolor="white", linewidth=0.7, zorder=3)
    axes.scatter(x[~near], y[~near], s=40, color=VERMILION, marker="x", linewidth=1.8, zorder=3)


def _interval(report: CheckReport) -> tuple[float, float] | None:
    """The errors at the ends of the 90% intervals, the widest over all networks."""
    ends = [
        (check.predicted_unet_ms / check.high_ms - 1, check.predicted_unet_ms / check.low_ms - 1)
        for check in report.checks
        if check.low_ms is not None and check.high_ms is not None
    ]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None


def _caption(report: CheckReport, measured_on: str | None) -> str:
    """The caption: what was measured, and what the bands are."""
    times = min(len(check.measurements_ms) for check in report.checks)
    count = {1: "once", 2: "twice"}.get(times, f"{times} times")
    sentences = [f"Whole networks, each measured {count}" + (f" on {measured_on}." if measured_on else ".")]
    if report.noise_floor is not None:
        sentences.append("Green: mean difference between the first two measurements of a network.")
    elif times == 1:
        sentences.append("The difference between two measurements of a network was not measured.")
    if report.coverage is None:
        sentences.append("Predictions are sums of block latencies, without a fit.")
    else:
        sentences.append(f"{report.coverage:.0%} of the networks lie in the 90% interval of their prediction.")
    if report.slowdown is not None:
        sentences.append(
            f"Predictions are multiplied by {report.slowdown:.3f}: the time of the fit's networks now, over their time "
            "then."
        )
    return " ".join(sentences)


def _arrays(report: CheckReport) -> tuple[Values, Values, Values]:
    """Measured and predicted latencies, and relative errors."""
    measured = np.array([check.measured_unet_ms for check in report.checks])
    predicted = np.array([check.predicted_unet_ms for check in report.checks])
    return measured, predicted, np.array([check.error for check in report.checks])
