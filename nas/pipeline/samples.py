"""The clips that a run makes at its end: of which captions, beside which real clips, and how much they flicker.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from nas.data import DataSplit, LatentClips, to_bytes
from nas.models import Codec
from nas.pipeline.config import GenerateStage
from nas.quality import TemporalFlicker
from nas.report.strips import Column, plot_strips

Kind = Literal["training", "held-out", "given"]

LABELS = {"training": "Caption of a training clip", "held-out": "Caption of a held-out clip", "given": "Prompt"}
"""What a report calls each kind of caption."""

SHEET = "samples.png"
"""All clips on one picture."""

MAX_REAL = 4
"""Real clips of one caption that are looked at: a set may have thousands, and an autoencoder takes its time for one."""

MAX_ROWS = 16
"""Rows of the sheet: a picture of hundreds cannot be written."""


@dataclass(frozen=True)
class Shown:
    """A caption that the student makes a clip of.

    Args:
        caption: The caption.
        kind: Whether its clips were trained on or held out, or it was given by the user and has none.
        real_BTCHW: Real clips of that caption, uint8, at most `MAX_REAL`; none where it was given.
    """

    caption: str
    kind: Kind
    real_BTCHW: torch.Tensor | None


def shown_captions(settings: GenerateStage, clips: DataSplit, codec: Codec) -> list[Shown]:
    """The captions that a run's settings ask for: those of training clips first, or those that were given.

    Args:
        settings: How many, or which.
        clips: The run's clips.
        codec: Shows real clips as a model sees them.

    Raises:
        DataError: A clip cannot be read.
    """
    if settings.prompts:
        return [Shown(caption, "given", None) for caption in settings.prompts]
    trained, held_out = clips.train.latents(codec)[0], clips.validation.latents(codec)[0]
    known, seen = list(dict.fromkeys(trained.captions)), set(clips.train.captions)
    # Sentences that training has not seen come first; in a small grammar there may be none.
    unseen_first = sorted(dict.fromkeys(held_out.captions), key=lambda caption: caption in seen)
    count = min(settings.training_count, len(known))
    spread = [known[number * len(known) // count] for number in range(count)]
    return [
        *(Shown(caption, "training", _real(caption, trained, codec)) for caption in spread),
        *(Shown(caption, "held-out", _real(caption, held_out, codec)) for caption in unseen_first[: settings.count]),
    ]


def _real(caption: str, clips: LatentClips, codec: Codec) -> torch.Tensor:
    """Clips of a caption, in the size that the model makes, evenly spread where there are many."""
    indices = [index for index, each in enumerate(clips.captions) if each == caption]
    chosen = indices[:: -(-len(indices) // MAX_REAL)]
    # One by one: decoding takes many times the memory of a clip.
    return torch.cat([to_bytes(codec.decode(clips.videos([index]))) for index in chosen])


def plot_samples(shown: Sequence[Shown], made_BTCHW: torch.Tensor, path: Path) -> Path:
    """Draw the clips made as strips of frames, beside a real clip of each caption where there are some.

    Of many they are some, evenly spread.

    Raises:
        StorageError: The file cannot be written.
    """
    places = range(len(shown))[:: -(-len(shown) // MAX_ROWS)]
    shown, made_BTCHW = [shown[place] for place in places], made_BTCHW[list(places)]
    columns = [Column("generated", tuple(made_BTCHW))]
    real = [each.real_BTCHW[0] for each in shown if each.real_BTCHW is not None]
    if len(real) == len(shown):
        columns.append(Column("a real clip of that caption", tuple(real)))
    return plot_strips(columns, [f"{LABELS[each.kind]}: {each.caption}" for each in shown], path)


def flicker_rows(shown: Sequence[Shown], made_BTCHW: torch.Tensor) -> list[dict[str, Any]]:
    """Temporal flicker of the clips made, beside that of the real clips of the same captions, for each kind of caption.

    Args:
        shown: The captions.
        made_BTCHW: A clip of each, uint8.

    Returns:
        A row for each kind; `real` and `ratio` are `None` where there are no real clips, or these stand still.
    """
    rows = []
    for kind in dict.fromkeys(each.kind for each in shown):
        numbers = [number for number, each in enumerate(shown) if each.kind == kind]
        flicker = _flicker(made_BTCHW[numbers])
        of_real = [_flicker(each.real_BTCHW) for each in shown if each.kind == kind and each.real_BTCHW is not None]
        real = sum(of_real) / len(of_real) if of_real else None
        ratio = flicker / real if real else None
        rows.append({"captions": kind, "clips": len(numbers), "flicker": flicker, "real": real, "ratio": ratio})
    return rows


def _flicker(video_BTCHW: torch.Tensor) -> float:
    metric = TemporalFlicker()
    frames = metric.describe(video_BTCHW, [""] * len(video_BTCHW))
    return metric.value(frames, frames)
