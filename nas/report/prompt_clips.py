"""Many clips of a list of prompts, in files named as VBench's scripts look for them.

The folder holds clips and nothing else, because VBench takes the suffix of any file in it for that of all clips. How
they were made is written to a file beside the folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.data import to_bytes, write_mp4
from nas.errors import ConfigError
from nas.files import derive_seed, read_json, read_text, remove_temporaries, write_json
from nas.models import VideoModel
from nas.models.flow import starting_noise
from nas.models.video_model import batches
from nas.models.weights import weights_digest
from nas.progress import progress_bar

BATCH = 4

_LONGEST_NAME = 255  # bytes, on the usual file systems


@dataclass(frozen=True)
class PromptClip:
    """One clip of a list.

    Args:
        prompt: What it should show.
        index: Its number among the clips of its prompt.
        seed: Of its noise; depends on the seed of the list, the prompt and the index, and on no other prompt.
    """

    prompt: str
    index: int
    seed: int

    @property
    def file_name(self) -> str:
        """Its name in the folder."""
        return f"{self.prompt}-{self.index}.mp4"


def read_prompts(path: str | Path) -> tuple[str, ...]:
    """The prompts of a text file, one a line; empty lines and repetitions are left out.

    Raises:
        ConfigError: There are none, or a prompt cannot be the name of a file.
    """
    prompts: dict[str, None] = {}
    text = read_text(path).removeprefix("\ufeff")  # the byte order mark that some editors write
    for number, line in enumerate(text.split("\n"), start=1):
        prompt = line.strip()
        if not prompt:
            continue
        if "/" in prompt or "\0" in prompt or len(f"{prompt}-000.mp4".encode()) > _LONGEST_NAME:
            what = f"line {number}: {prompt[:40]!r} cannot be the name of a file"
            raise ConfigError(what, where=path, hint="shorten it, and write no / in it")
        prompts[prompt] = None
    if not prompts:
        raise ConfigError("holds no prompts", where=path, hint="write one a line")
    return tuple(prompts)


def clips_of(prompts: Sequence[str], per_prompt: int, seed: int) -> tuple[PromptClip, ...]:
    """The clips of a list of prompts, all of a prompt one after the other."""
    return tuple(
        PromptClip(prompt, index, derive_seed(seed, prompt, index)) for prompt in prompts for index in range(per_prompt)
    )


def record_file(folder: Path) -> Path:
    """The file beside a folder of clips that says how they were made."""
    return folder.with_name(f"{folder.name}.json")


def write_prompt_clips(
    model: VideoModel,
    clips: Sequence[PromptClip],
    folder: str | Path,
    *,
    steps: int | None = None,
    guidance_scale: float | None = None,
) -> int:
    """Make the clips that a folder lacks; each file appears when it is complete, so that a killed call can be repeated.

    Args:
        model: The model.
        clips: The clips.
        folder: The folder.
        steps: Denoising steps; the model's own when left out.
        guidance_scale: Classifier-free guidance; the model's own when left out.

    Returns:
        How many were made.

    Raises:
        ConfigError: The clips in the folder were made by another model or with other settings.
        StorageError: A file cannot be written.
    """
    root, record = Path(folder), _record(model, steps, guidance_scale)
    _claim(root, record, clips)
    remove_temporaries(root)
    missing = [clip for clip in clips if not (root / clip.file_name).is_file()]
    model.text_encoder.warn_of_losses({clip.prompt for clip in missing})
    fps = model.space.file.video.fps
    with progress_bar("generating", len(missing)) as advance:
        for clip, video_TCHW in _made(model, missing, steps, guidance_scale):
            write_mp4(video_TCHW, root / clip.file_name, fps)
            advance("")
    return len(missing)


def _made(
    model: VideoModel, clips: Sequence[PromptClip], steps: int | None, guidance_scale: float | None
) -> Iterator[tuple[PromptClip, torch.Tensor]]:
    """Each clip with its frames (T, C, H, W), uint8."""
    for numbers in batches(len(clips), BATCH):
        some = [clips[number] for number in numbers]
        noise_BTCHW = torch.cat([starting_noise(model.space.latent_shape, clip.seed, [0]) for clip in some])
        asked = [clip.prompt for clip in some]
        made = model.generate_from(noise_BTCHW, asked, steps=steps, guidance_scale=guidance_scale)
        yield from zip(some, to_bytes(made).cpu(), strict=True)


def _record(model: VideoModel, steps: int | None, guidance_scale: float | None) -> dict[str, Any]:
    """What decides the clips, beside prompts and seeds."""
    return {
        "model": f"{weights_digest(model.unet)}{weights_digest(model.text_encoder)}",
        "steps": steps or model.generation.steps,
        "guidance_scale": model.generation.guidance_scale if guidance_scale is None else guidance_scale,
    }


def _claim(folder: Path, record: dict[str, Any], clips: Sequence[PromptClip]) -> None:
    """Write the record, or compare with that of an earlier call."""
    file = record_file(folder)
    seeds = {clip.file_name: clip.seed for clip in clips}
    if file.is_file():
        known = read_json(file)
        earlier = known.get("seeds") if isinstance(known, dict) else None
        if not isinstance(earlier, dict):
            raise ConfigError("does not say how clips were made, and would be replaced", where=file,
                              hint="choose another folder for the clips")  # fmt: skip
        other = [name for name in record if known.get(name) != record[name]]
        other += ["seed"] if any(earlier.get(name, seed) != seed for name, seed in seeds.items()) else []
        if other:
            raise ConfigError(f"its clips were made with another {other[0]}", where=folder,
                              hint="repeat the first command, or choose another folder")  # fmt: skip
        seeds = {**earlier, **seeds}
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"holds files, and {file.name} beside it does not say how they were made", where=folder,
                          hint="choose another folder")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, {**record, "seeds": seeds})
