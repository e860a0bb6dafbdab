"""A contact sheet that moves: every clip of `nas compare` side by side, as one animated picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from nas.files import atomic_write, check_suffix
from nas.report.comparison import Sampled, sheet_column
from nas.report.strips import draw_strips

MOVING = {".webp": "WEBP", ".gif": "GIF"}
"""Formats of pictures that move, by suffix. GIF has 256 colours only."""

DOTS_PER_INCH = 80


def write_moving_sheet(sampled: Sequence[Sampled], prompts: Sequence[str], path: str | Path, fps: float) -> Path:
    """Write a row for each prompt and a column for each way to sample, as an animation that repeats.

    Args:
        sampled: The clips, all of as many frames.
        prompts: Their prompts.
        path: The file, .webp or .gif.
        fps: Frames per second.

    Raises:
        ConfigError: The suffix is another one.
        StorageError: The file cannot be written.
    """
    path = check_suffix(path, tuple(MOVING))
    count = len(sampled[0].clips_TCHW[0])
    first, *others = (_frame(sampled, prompts, number) for number in range(count))
    with atomic_write(path) as temporary:
        first.save(
            temporary, format=MOVING[path.suffix.lower()], save_all=True, append_images=others,
            duration=round(1000 / fps), loop=0, quality=85, method=6,
        )  # fmt: skip
    return path


def _frame(sampled: Sequence[Sampled], prompts: Sequence[str], number: int) -> Image.Image:
    """The sheet with one frame of each clip."""
    columns = [sheet_column(result) for result in sampled]
    stills = [
        replace(column, clips_TCHW=tuple(clip[number : number + 1] for clip in column.clips_TCHW)) for column in columns
    ]
    file = io.BytesIO()
    draw_strips(stills, prompts).savefig(file, format="png", dpi=DOTS_PER_INCH)
    return Image.open(file).convert("RGB")
