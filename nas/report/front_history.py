"""The panel of hypervolume against evaluations."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from nas.report.style import BLUE, INK, MUTED, tidy
from nas.search.results.history import HypervolumeHistory


def draw_history(axes: Axes, history: HypervolumeHistory, unit: str = "ms") -> None:
    """Draw the hypervolume of the search as a share of the final one, with the reference point in the title.

    Args:
        axes: Where to draw.
        history: The hypervolume after each evaluation.
        unit: Unit of the second objective, or what it is if it has none.
    """
    quality, second = history.reference
    evaluations = range(1, len(history.values) + 1)
    final = history.values[-1] or 1.0
    shares = [100 * value / final for value in history.values]
    axes.step(evaluations, shares, where="post", color=BLUE, linewidth=1.6)
    axes.scatter([len(shares)], [shares[-1]], s=20, color=BLUE, zorder=3)
    axes.set_ylim(0, 112)
    axes.set_xlabel("evaluations of the search", color=INK)
    axes.set_ylabel("% of the final", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yticks([0, 50, 100])
    tidy(axes)
    reference = f"reference point: quality {quality:.4g}, {second:,.5g} {unit}"
    axes.set_title(
        f"hypervolume of the search {history.values[-1]:.4g}, {reference}", loc="left", fontsize=9, color=MUTED
    )
