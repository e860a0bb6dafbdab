"""Clips as strips of frames: a row for each caption, a column for each kind of clip.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch.nn import functional

from nas.report.lettering import spelt_out
from nas.report.style import INK, MUTED, new_figure, save_figure

FRAMES = 4
"""Frames of a clip that a sheet shows, spread evenly."""

CELL_WIDTH_IN, PROMPT_HEIGHT_IN, LINE_HEIGHT_IN, TITLE_HEIGHT_IN = 3.6, 0.3, 0.15, 0.6
COLUMNS_PER_IN, MAX_LINES = 14, 4
"""Letters of a prompt to an inch, and the lines it may take."""


@dataclass(frozen=True)
class Column:
    """Clips of one kind.

    Args:
        heading: What they are, in one line or two.
        clips_TCHW: One clip for each row, uint8.
    """

    heading: str
    clips_TCHW: tuple[torch.Tensor, ...]


def plot_strips(columns: Sequence[Column], captions: Sequence[str], path: str | Path) -> Path:
    """Draw a row for each caption and a column for each kind of clip; raises as `save_figure`."""
    return save_figure(draw_strips(columns, captions), path)


def draw_strips(columns: Sequence[Column], captions: Sequence[str]) -> Figure:
    """The figure of `plot_strips`."""
    video_TCHW = columns[0].clips_TCHW[0]
    shown = min(FRAMES, len(video_TCHW))
    strip_height_in = CELL_WIDTH_IN * video_TCHW.shape[2] / (shown * video_TCHW.shape[3])
    titles = [_wrapped(caption, CELL_WIDTH_IN * len(columns)) for caption in captions]
    more_lines = sum(title.count("\n") for title in titles)
    height_in = TITLE_HEIGHT_IN + len(captions) * (strip_height_in + PROMPT_HEIGHT_IN) + more_lines * LINE_HEIGHT_IN
    figure = new_figure(CELL_WIDTH_IN * len(columns), height_in)
    grid = figure.subplots(len(captions), len(columns), squeeze=False)
    for place, column in enumerate(columns):
        for row, title in enumerate(titles):
            _draw_strip(grid[row][place], column.clips_TCHW[row])
            if place == 0:
                grid[row][place].set_title(title, loc="left", fontsize=8, color=MUTED)
        grid[0][place].annotate(
            column.heading, (0, 1), (0, 16 + 10 * titles[0].count("\n")),
            xycoords="axes fraction", textcoords="offset points",
            fontsize=9, fontweight="bold", color=INK, va="bottom",
        )  # fmt: skip
    return figure


def _wrapped(caption: str, width_in: float) -> str:
    """A caption in lines that fit the width; what is longer than a few lines is cut."""
    text = spelt_out(caption)
    wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    columns = int(width_in * COLUMNS_PER_IN / (2 if wide else 1))
    lines = textwrap.wrap(text, columns, max_lines=MAX_LINES, placeholder=" ...")
    return "\n".join(" ".join(line.split()) for line in lines)


def _draw_strip(axes: Axes, video_TCHW: torch.Tensor) -> None:
    places = torch.linspace(0, len(video_TCHW) - 1, min(FRAMES, len(video_TCHW))).round().long()
    gap = max(video_TCHW.shape[3] // 32, 1)
    gapped_TCHW = functional.pad(video_TCHW[places], (0, gap), value=255)
    strip_HWC = torch.cat(list(gapped_TCHW), dim=2)[..., :-gap].permute(1, 2, 0)
    axes.imshow(strip_HWC.numpy(), interpolation="nearest")
    axes.set_axis_off()
