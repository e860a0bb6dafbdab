"""Clips in a grid, each below its caption, as one video.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from nas.data import write_mp4
from nas.report.style import INK, MUTED, new_figure

CELL_IN, LINE_IN, GAP_IN = 3.0, 0.15, 0.15
"""Width of a clip, height of a line of text, and space between rows."""

COLUMNS_PER_IN, CAPTION_LINES, TITLE_LINES = 13, 3, 4
"""Letters to an inch, and the lines that a caption and the title may take; the rest is cut."""

DOTS_PER_INCH = 100

LEAST_S = 6.0
"""Clips are repeated until the video is so long: players stop at its end."""


def write_clip_grid(
    clips_TCHW: Sequence[torch.Tensor], captions: Sequence[str], title: str, path: str | Path, fps: float
) -> None:
    """Write clips side by side and below each other, as a video of some seconds.

    Args:
        clips_TCHW: The clips, uint8, all of one shape.
        captions: One for each clip.
        title: What they are.
        path: The file, .mp4.
        fps: Frames per second.

    Raises:
        StorageError: The file cannot be written.
    """
    figure, pictures = _draw(clips_TCHW, captions, title)
    width, count = clips_TCHW[0].shape[3], len(clips_TCHW[0])
    figure.set_dpi(max(DOTS_PER_INCH, math.ceil(width / CELL_IN)))  # large clips keep their pixels
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")  # everything has its place, in all frames
    frames = []
    for number in range(count):
        for picture, clip in zip(pictures, clips_TCHW, strict=True):
            picture.set_data(_pixels(clip, number))
        canvas.draw()
        frames.append(torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3]).permute(2, 0, 1))
    video_TCHW = torch.stack(frames).repeat(max(math.ceil(LEAST_S * fps / count), 1), 1, 1, 1)
    write_mp4(video_TCHW, path, fps)


def _draw(clips_TCHW: Sequence[torch.Tensor], captions: Sequence[str], title: str) -> tuple[Figure, list[AxesImage]]:
    """The grid with the first frame of each clip."""
    columns = math.ceil(math.sqrt(len(clips_TCHW)))
    rows = math.ceil(len(clips_TCHW) / columns)
    texts = [_wrapped(caption, CELL_IN, CAPTION_LINES) for caption in captions]
    head = _wrapped(title, CELL_IN * columns, TITLE_LINES)
    cell_in = CELL_IN * clips_TCHW[0].shape[2] / clips_TCHW[0].shape[3] + GAP_IN
    text_in = LINE_IN * max(text.count("\n") + 1 for text in texts)
    height_in = rows * (cell_in + text_in) + LINE_IN * (head.count("\n") + 2)
    figure = new_figure(CELL_IN * columns, height_in)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    pictures = []
    for axes, clip, text in zip(grid, clips_TCHW, texts, strict=False):
        pictures.append(axes.imshow(_pixels(clip, 0), interpolation="nearest"))
        axes.set_title(text, loc="left", fontsize=8, fontweight="bold", color=INK)
    for axes in grid:
        axes.set_axis_off()
    figure.suptitle(head, x=0.01, ha="left", fontsize=8, color=MUTED)
    return figure, pictures


def _wrapped(text: str, width_in: float, lines: int) -> str:
    return "\n".join(textwrap.wrap(text, int(COLUMNS_PER_IN * width_in), max_lines=lines, placeholder=" ..."))


def _pixels(clip_TCHW: torch.Tensor, number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """One frame, H x W x C."""
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = clip_TCHW[number].permute(1, 2, 0).numpy()
    return pixels
