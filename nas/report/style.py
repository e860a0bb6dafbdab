"""The look that all figures share, and saving them."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.files import atomic_write, check_suffix
from nas.report.lettering import PlainFigure

# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart.
BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
INK, MUTED, FAINT = "#222222", "#666666", "#B8B8B8"

FORMATS = (".png", ".svg", ".pdf")
DOTS_PER_INCH = 160


def check_format(path: str | Path) -> Path:
    """Return the path of a figure.

    Raises:
        ConfigError: Its suffix is not that of a known format.
    """
    return check_suffix(path, FORMATS)


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure that is laid out without overlaps, its text drawn as it is written.

    No state is shared with other figures.
    """
    return PlainFigure(figsize=(width_in, height_in), layout="constrained", facecolor="white")


def tidy(axes: Axes) -> None:
    """Take away what is no data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=9)
    axes.grid(color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)


def add_title(axes: Axes, title: str, legend_rows: int = 1) -> None:
    """A heading, flush left, above the rows of a legend."""
    pad = 30 + 15 * (max(legend_rows, 1) - 1)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=pad)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, SVG or PDF, by the suffix; raises as `check_format`, and `StorageError`."""
    path = check_format(path)
    with mpl.rc_context({"svg.hashsalt": "nas", "pdf.fonttype": 42}), atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH, format=path.suffix.lower()[1:])
    return path
