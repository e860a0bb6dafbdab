"""The clips that a run generates at its end: their captions, real clips beside them, and their flicker.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from nas.data import DataSplit, LatentClips, to_bytes, write_mp4
from nas.errors import TrainingError
from nas.models import Codec, VideoModel
from nas.pipeline.settings import GenerateStage
from nas.quality import TemporalFlicker
from nas.report.strips import Column, plot_strips

logger = logging.getLogger("nas")

Kind = Literal["training", "held-out", "given"]

LABELS = {"training": "Caption of a training clip", "held-out": "Caption of a held-out clip", "given": "Prompt"}
"""The name of each kind of caption in a report."""

SHEET = "samples.png"
"""The picture of all clips."""

MADE_BY = {"teacher": "teacher", "teacher_in_few_steps": "teacher in as few steps", "student": "student",
           "real": "a real clip of that caption"}  # fmt: skip
"""The name of what made a clip, in the order in which a report shows them."""

MAX_COMPARED = 4
"""Captions for which the teacher generates too: it takes many times as long as the student."""

MAX_REAL = 4
"""Real clips per caption at most: a set may have thousands, and an autoencoder is slow."""

MAX_ROWS = 16
"""Rows of the sheet at most: a picture of hundreds cannot be written."""


@dataclass(frozen=True)
class Shown:
    """A caption for which the student generates a clip.

    Args:
        caption: The caption.
        kind: Whether its clips were trained on or held out, or the user gave it and there are none.
        real_BTCHW: Real clips of that caption, uint8, at most `MAX_REAL`; `None` if the user gave it.
    """

    caption: str
    kind: Kind
    real_BTCHW: torch.Tensor | None


def shown_captions(settings: GenerateStage, clips: DataSplit, codec: Codec) -> list[Shown]:
    """The captions that a run's settings ask for: those of training clips first, or those that the user gave.

    Args:
        settings: The number of captions, or the captions.
        clips: The run's clips.
        codec: Encodes and decodes real clips, to show them as a model sees them.

    Raises:
        DataError: A clip cannot be read.
    """
    if settings.prompts:
        return [Shown(caption, "given", None) for caption in settings.prompts]
    trained, held_out = clips.train.latents(codec)[0], clips.validation.latents(codec)[0]
    known, seen = list(dict.fromkeys(trained.captions)), set(clips.train.captions)
    # Captions that training has not seen come first; in a small set there may be none.
    unseen_first = sorted(dict.fromkeys(held_out.captions), key=lambda caption: caption in seen)
    count = min(settings.training_count, len(known))
    spread = [known[number * len(known) // count] for number in range(count)]
    return [
        *(Shown(caption, "training", _real(caption, trained, codec)) for caption in spread),
        *(Shown(caption, "held-out", _real(caption, held_out, codec)) for caption in unseen_first[: settings.count]),
    ]


def _real(caption: str, clips: LatentClips, codec: Codec) -> torch.Tensor:
    """Clips of a caption, in the size that the model makes; evenly spread if there are many."""
    indices = [index for index, other in enumerate(clips.captions) if other == caption]
    chosen = indices[:: -(-len(indices) // MAX_REAL)]
    # One by one: decoding takes many times the memory of a clip.
    return torch.cat([to_bytes(codec.decode(clips.videos([index]))) for index in chosen])


def clips_beside(
    shown: Sequence[Shown], teacher: VideoModel, student: VideoModel, folder: Path, files: Sequence[Path], seed: int
) -> list[dict[str, str]]:
    """Write clips beside those of the student: of its teacher, of that in as few steps, and a real one.

    The teacher generates for at most `MAX_COMPARED` captions, spread evenly, from the noise that the student had.

    Args:
        shown: The captions.
        teacher: What the student was distilled from.
        student: The student.
        folder: Where its clips are.
        files: Their files, in the order of the captions; the others are named after them.
        seed: Seed of the noise.

    Returns:
        For each caption, file names by what made the clip, see `MADE_BY`.
    """
    fps, few = student.space.file.video.fps, student.generation.steps
    settings: dict[str, dict[str, Any]] = {"teacher": {}, "teacher_in_few_steps": {"steps": few, "guidance_scale": 1.0}}
    compared = range(len(shown))[:: -(-len(shown) // MAX_COMPARED)]
    beside: list[dict[str, str]] = []
    for number, (row, file) in enumerate(zip(shown, files, strict=True)):
        videos = {} if row.real_BTCHW is None else {"real": row.real_BTCHW[0]}
        for name, how in settings.items() if number in compared else ():
            with _left_out_if_broken(name):
                clip_BTCHW = to_bytes(teacher.generate([row.caption], seed=seed, first=number, **how)).cpu()
                videos[name] = clip_BTCHW[0]
        beside.append({name: f"{file.stem}.{name}.mp4" for name in videos})
        for name, video_TCHW in videos.items():
            write_mp4(video_TCHW, folder / beside[-1][name], fps)
    return beside


@contextlib.contextmanager
def _left_out_if_broken(name: str) -> Iterator[None]:
    """A teacher whose clips are not finite is no reason to end a run: the student's clips are there."""
    try:
        yield
    except TrainingError as error:
        logger.warning("samples: no clip of the %s: %s", MADE_BY[name], error)


def plot_samples(shown: Sequence[Shown], generated_BTCHW: torch.Tensor, path: Path) -> Path:
    """Draw the generated clips as strips of frames, beside a real clip of each caption if there is one.

    If there are more than `MAX_ROWS`, evenly spread ones are drawn.

    Raises:
        StorageError: The file cannot be written.
    """
    places = range(len(shown))[:: -(-len(shown) // MAX_ROWS)]
    shown, generated_BTCHW = [shown[place] for place in places], generated_BTCHW[list(places)]
    columns = [Column("generated", tuple(generated_BTCHW))]
    real = [row.real_BTCHW[0] for row in shown if row.real_BTCHW is not None]
    if len(real) == len(shown):
        columns.append(Column("a real clip of that caption", tuple(real)))
    return plot_strips(columns, [f"{LABELS[row.kind]}: {row.caption}" for row in shown], path)


def flicker_rows(shown: Sequence[Shown], generated_BTCHW: torch.Tensor) -> list[dict[str, Any]]:
    """Temporal flicker of generated clips and of the real clips of their captions, by kind of caption.

    Args:
        shown: The captions.
        generated_BTCHW: A clip of each, uint8.

    Returns:
        A row for each kind. `real` is `None` if there are no real clips, and `ratio` also if these do not move.
    """
    rows = []
    for kind in dict.fromkeys(row.kind for row in shown):
        numbers = [number for number, row in enumerate(shown) if row.kind == kind]
        flicker = _flicker(generated_BTCHW[numbers])
        of_real = [_flicker(row.real_BTCHW) for row in shown if row.kind == kind and row.real_BTCHW is not None]
        real = sum(of_real) / len(of_real) if of_real else None
        ratio = flicker / real if real else None
        rows.append({"captions": kind, "clips": len(numbers), "flicker": flicker, "real": real, "ratio": ratio})
    return rows


def _flicker(video_BTCHW: torch.Tensor) -> float:
    metric = TemporalFlicker()
    frames = metric.describe(video_BTCHW, [""] * len(video_BTCHW))
    return metric.value(frames, frames)
