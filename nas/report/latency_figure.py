"""The figure of a latency check: predicted against measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nas.errors import ConfigError
from nas.latency import CheckReport
from nas.report.style import BLUE, INK, MUTED, VERMILION, add_title, check_format, new_figure, save_figure, tidy

TOLERANCE = 0.1


def plot_latency_check(report: CheckReport, path: str | Path, *, measured_on: str | None = None) -> Path:
    """Draw the predicted latency of whole networks against their measured latency.

    Args:
        report: The check, of at least one network.
        path: Figure to write; its suffix, .png, .svg or .pdf, decides the format.
        measured_on: Device and runtime, for a caption.

    Raises:
        ConfigError: The suffix is unknown, or there is nothing to draw.
    """
    path = check_format(path)
    checks = report.checks
    if not checks:
        raise ConfigError("there are no checks to draw", where=path)
    measured = np.array([check.measured_unet_ms for check in checks])
    predicted = np.array([check.predicted_unet_ms for check in checks])
    errors = np.abs([check.error for check in checks])
    figure = new_figure(6.0, 6.0)
    axes = figure.subplots()
    low, high = 0.9 * min(measured.min(), predicted.min()), 1.1 * max(measured.max(), predicted.max())
    ends = np.array([low, high])
    axes.fill_between(ends, ends * (1 - TOLERANCE), ends * (1 + TOLERANCE), color=BLUE, alpha=0.12, linewidth=0,
                      label="within 10%")  # fmt: skip
    axes.plot(ends, ends, color=MUTED, linewidth=1.2, linestyle=(0, (5, 3)), label="equal")
    near = errors <= TOLERANCE
    axes.scatter(measured[near], predicted[near], s=34, color=BLUE, edgecolor="white", linewidth=0.7, zorder=3)
    axes.scatter(measured[~near], predicted[~near], s=40, color=VERMILION, marker="x", linewidth=1.8, zorder=3)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel("measured latency of the denoising network, ms", color=INK)
    axes.set_ylabel("predicted latency, ms", color=INK)
    add_title(axes, f"{near.sum()} of {len(checks)} networks within 10%, mean error {report.mape:.1%}")
    tidy(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, frameon=False, fontsize=9)
    if measured_on is not None:
        figure.supxlabel(f"Measured on {measured_on}.", x=0.02, ha="left", fontsize=8, color=MUTED)
    return save_figure(figure, path)
