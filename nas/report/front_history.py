"""The panel of hypervolume against evaluations."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nas.report.style import BLUE, INK, MUTED, tidy
from nas.search.results.history import HypervolumeHistory


def draw_history(axes: Axes, history: HypervolumeHistory, unit: str = "ms") -> None:
    """Draw the hypervolume of the search from zero, with the reference point in the title.

    Args:
        axes: Where to draw.
        history: The hypervolume after each evaluation.
        unit: Unit of the second objective, or what it is if it has none.
    """
    quality, second = history.reference
    evaluations = range(1, len(history.values) + 1)
    axes.step(evaluations, history.values, where="post", color=BLUE, linewidth=1.6)
    axes.scatter([len(history.values)], [history.values[-1]], s=20, color=BLUE, zorder=3)
    axes.set_ylim(0, 1.15 * max(history.values) or 1)
    axes.set_xlabel("evaluations of the search", color=INK)
    axes.set_ylabel("hypervolume", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    tidy(axes)
    reference = f"reference point: quality {quality:.4g}, {second:,.5g} {unit}"
    axes.set_title(
        f"hypervolume of the search {history.values[-1]:.4g}, {reference}", loc="left", fontsize=9, color=MUTED
    )
