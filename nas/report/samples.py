"""Sample clips of a model: MP4, GIF and a strip of frames for each prompt.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from nas.data import frame_strip, write_gif, write_mp4
from nas.models import VideoModel
from nas.quality.clips.scoring import generated_batches

BATCH = 4
"""Clips that are made together; a large model has no memory for more."""


def write_samples(
    model: VideoModel,
    prompts: Sequence[str],
    folder: str | Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
) -> list[Path]:
    """Generate one clip per prompt and write each few as soon as they are made; see `write_clips`.

    Raises:
        TrainingError: A clip is not finite; those before it are written.
    """
    files: list[Path] = []
    for clips_BTCHW in generated_batches(
        model, prompts, seed=seed, steps=steps, guidance_scale=guidance_scale, batch_size=BATCH
    ):
        first, fps = len(files), model.space.file.video.fps
        files += write_clips(clips_BTCHW, prompts[first : first + len(clips_BTCHW)], folder, fps, first=first)
    return files


def write_clips(
    clips_BTCHW: torch.Tensor, prompts: Sequence[str], folder: str | Path, fps: float, *, first: int = 0
) -> list[Path]:
    """Write each clip as `NN-words.mp4`, `.gif` and `.png` (the frames side by side).

    Args:
        clips_BTCHW: Clips, uint8.
        prompts: One for each clip; its first words name the files.
        folder: Where they go.
        fps: Frames per second.
        first: Number of the first clip, to continue a series.

    Returns:
        The MP4 files, in the order of the prompts.
    """
    files = []
    for number, (prompt, video_TCHW) in enumerate(zip(prompts, clips_BTCHW, strict=True), first):
        stem = Path(folder) / f"{number:02d}-{slug(prompt)}"
        write_mp4(video_TCHW, stem.with_suffix(".mp4"), fps)
        write_gif(video_TCHW, stem.with_suffix(".gif"), fps)
        frame_strip(video_TCHW, stem.with_suffix(".png"))
        files.append(stem.with_suffix(".mp4"))
    return files


def slug(text: str, words: int = 6) -> str:
    """The first words of a caption as a file name."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())[:words])[:60] or "clip"
