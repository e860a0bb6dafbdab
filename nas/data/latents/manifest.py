"""The folder that encoded clips stand in: what it is to hold, written first, and its index, written last.

plan.json                        which clips, encoded how, in which shards
latents-00-00000.safetensors     `latents_NTCHW`: N clips of one size, T frames of C channels, height H, width W
contexts-00000.safetensors       `contexts_NLD`: N captions, L tokens of width D; where the text encoder is frozen
*.json beside each shard         its digest; a shard without it is not finished
index.json                       the manifest and the digests of all shards
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from nas.data.clips.captioned import GridSize
from nas.data.clips.dataset import ClipShape
from nas.data.clips.sampling import ReadingOrder
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, fingerprint, parse, read_json

MANIFEST, INDEX = "plan.json", "index.json"
LATENTS, CONTEXTS = "latents_NTCHW", "contexts_NLD"

Side = Literal["train", "validation"]
Precision = Literal["float32", "float16", "bfloat16"]

_VERSION = 1  # Raise it when the same clips give other files.


class EncodedClip(StrictModel):
    """One clip: its name and its caption."""

    name: str
    caption: str


class EncodedPart(StrictModel):
    """Clips of one size, on one side of the split.

    Args:
        side: For training, or held out.
        frames: Of a clip.
        height: In pixels.
        width: In pixels.
        latent: Shape (T, C, H, W) of a clip's latents.
        clips: The clips, in order.
        source_shards: How many of them come from each shard of the data; see `ReadingOrder`.
        window: Of the same.
        rows: Clips per shard.
    """

    side: Side
    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt
    latent: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    clips: tuple[EncodedClip, ...]
    source_shards: tuple[int, ...]
    window: PositiveInt
    rows: PositiveInt

    @property
    def size(self) -> GridSize:
        """Frames, height and width."""
        return GridSize(self.frames, self.height, self.width)

    @property
    def order(self) -> ReadingOrder:
        """In which order clips are read: that of the data they come from, so that a run sees the same batches."""
        return ReadingOrder(self.source_shards, self.window)


class EncodedCaptions(StrictModel):
    """What a frozen text encoder has made of the captions.

    Args:
        identity: Of the encoder.
        shape: Tokens L and width D.
        rows: Captions per shard.
    """

    identity: str
    shape: tuple[PositiveInt, PositiveInt]
    rows: PositiveInt


@dataclass(frozen=True)
class LatentShard:
    """Some rows of a part, or of the captions where `part` is `None`."""

    file: str
    part: int | None
    rows: range

    @property
    def record(self) -> str:
        """The file with its digest."""
        return f"{Path(self.file).stem}.json"


class LatentManifest(StrictModel):
    """What a folder is to hold.

    Args:
        version: Of the format.
        data: Fingerprint of the clips, of both sides.
        validation_fraction: Share of the files that is held out.
        codec: Identity of the codec.
        frames: Of the clips that the model makes.
        height: Of these, in pixels.
        width: Of these, in pixels.
        fps: Frames per second.
        dtype: Of latents and contexts.
        parts: The clips; the parts of a side stand in the order in which training reads them.
        captions: The captions, where they are encoded.
    """

    version: int = _VERSION
    data: str
    validation_fraction: float
    codec: str
    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt
    fps: PositiveFloat
    dtype: Precision
    parts: tuple[EncodedPart, ...]
    captions: EncodedCaptions | None

    @property
    def shape(self) -> ClipShape:
        """Of the clips that the model makes."""
        return ClipShape(self.frames, self.height, self.width, self.fps)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of the stored numbers."""
        return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[self.dtype]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of all of it."""
        return fingerprint(self.model_dump(mode="json"))

    @cached_property
    def distinct_captions(self) -> tuple[str, ...]:
        """The empty caption, and every other one once."""
        return tuple(dict.fromkeys(["", *(clip.caption for part in self.parts for clip in part.clips)]))

    def shards(self) -> Iterator[LatentShard]:
        """All shards, those of the captions first."""
        if self.captions is not None:
            for number, rows in enumerate(_chunks(len(self.distinct_captions), self.captions.rows)):
                yield LatentShard(f"contexts-{number:05d}.safetensors", None, rows)
        for part, content in enumerate(self.parts):
            for number, rows in enumerate(_chunks(len(content.clips), content.rows)):
                yield LatentShard(latent_file(part, number), part, rows)


class LatentIndex(StrictModel):
    """What a finished folder holds.

    Args:
        manifest: What it was to hold; `plan` in the file.
        digests: SHA-256 of each shard.
    """

    manifest: LatentManifest = Field(alias="plan")
    digests: dict[str, str]


class ShardRecord(StrictModel):
    """What stands beside a finished shard.

    Args:
        manifest: Fingerprint of the manifest that it belongs to; `plan` in the file.
        sha256: Its digest.
    """

    manifest: str = Field(alias="plan")
    sha256: str


def latent_file(part: int, number: int) -> str:
    """Name of a shard of latents."""
    return f"latents-{part:02d}-{number:05d}.safetensors"


def read_latent_index(folder: Path) -> LatentIndex:
    """Read and check the index of a folder of encoded clips.

    Raises:
        DataError: There is none, it is not finished or malformed, or it does not fit its manifest.
    """
    path = folder / INDEX
    if not path.is_file():
        if (folder / MANIFEST).is_file():
            hint = "run the same `nas data encode` again, it goes on"
            raise DataError("the clips are not encoded to the end", where=folder, hint=hint)
        hint = "make them with `nas data encode`"
        raise DataError(f"no encoded clips: {INDEX} is missing", where=folder, hint=hint)
    try:
        value = read_json(path)
        version = value.get("plan", {}).get("version") if isinstance(value, dict) else None
        if isinstance(version, int) and version != _VERSION:
            raise damaged_latents(folder, f"{INDEX} is of version {version}, this nas reads {_VERSION}")
        index = parse(value, LatentIndex, where=path)
    except ConfigError as problem:
        raise damaged_latents(folder, f"{INDEX}: {problem.what}") from problem
    if {shard.file for shard in index.manifest.shards()} != set(index.digests):
        raise damaged_latents(folder, f"{INDEX} does not list the shards of its manifest")
    if any(sum(part.source_shards) != len(part.clips) for part in index.manifest.parts):
        raise damaged_latents(folder, f"{INDEX}: source_shards do not add up to the clips")
    return index


def damaged_latents(folder: Path, what: str) -> DataError:
    """The error for a folder of encoded clips that cannot be used."""
    return DataError(f"encoded clips: {what}", where=folder, hint="delete this folder and encode the clips again")


def _chunks(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
