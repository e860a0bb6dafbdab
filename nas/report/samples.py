"""Sample clips of a model: MP4, GIF and a strip of frames for each prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nas.data import frame_strip, write_gif, write_mp4
from nas.data.pixels import to_bytes
from nas.models import VideoModel
from nas.models.video_model import batches
from nas.progress import progress_bar

BATCH = 4


def write_samples(
    model: VideoModel,
    prompts: Sequence[str],
    folder: str | Path,
    *,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
) -> list[Path]:
    """Generate one clip per prompt and write `NN-words.mp4`, `.gif` and `.png` (the frames side by side).

    Returns:
        The MP4 files, in the order of the prompts.
    """
    root, files = Path(folder), []
    fps = model.space.file.video.fps
    model.text_encoder.warn_of_losses(prompts)
    with progress_bar("generating", len(prompts)) as advance:
        for numbers in batches(len(prompts), BATCH):
            chosen = [prompts[number] for number in numbers]
            clips = model.generate(chosen, seed=seed, steps=steps, guidance_scale=guidance_scale, first=numbers.start)
            for number, prompt, video_TCHW in zip(numbers, chosen, to_bytes(clips), strict=True):
                stem = root / f"{number:02d}-{slug(prompt)}"
                write_mp4(video_TCHW, stem.with_suffix(".mp4"), fps)
                write_gif(video_TCHW, stem.with_suffix(".gif"), fps)
                frame_strip(video_TCHW, stem.with_suffix(".png"))
                files.append(stem.with_suffix(".mp4"))
                advance("")
    return files


def slug(text: str, words: int = 6) -> str:
    """The first words of a caption as a file name."""
    return "-".join(re.findall(r"[a-z0-9]+", text.lower())[:words])[:60] or "clip"
