"""A folder of encoded clips: its manifest, which is written first, and its index, which is written last.

plan.json                        the manifest: which clips, how they are encoded, and in which shards
latents-00-00000.safetensors     `latents_NTCHW`: N clips of one size, T frames of C channels, height H, width W
contexts-00000.safetensors       `contexts_NLD`: N captions, L tokens of width D; if the text encoder is frozen
*.json beside each shard         its digest; a shard without it is unfinished
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
        frames: Frames per clip.
        height: Height in pixels.
        width: Width in pixels.
        latent: Shape (T, C, H, W) of a clip's latents.
        clips: The clips, in order.
        source_shards: How many clips come from each shard of the data; see `ReadingOrder`.
        window: The window of the same order.
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
        """The reading order of the data that the clips come from, so that a run sees the same batches."""
        return ReadingOrder(self.source_shards, self.window)


class EncodedCaptions(StrictModel):
    """The encoded captions: the contexts that a frozen text encoder made.

    Args:
        identity: The identity of the encoder.
        shape: Tokens L and width D.
        rows: Captions per shard.
    """

    identity: str
    shape: tuple[PositiveInt, PositiveInt]
    rows: PositiveInt


@dataclass(frozen=True)
class LatentShard:
    """One file: some rows of a part, or of the captions if `part` is `None`."""

    file: str
    part: int | None
    rows: range

    @property
    def record(self) -> str:
        """The name of the file that holds its digest."""
        return f"{Path(self.file).stem}.json"


class LatentManifest(StrictModel):
    """What a folder of encoded clips will hold.

    Args:
        version: Version of the format.
        data: Fingerprint of the clips of both sides.
        validation_fraction: Share of the files that is held out.
        codec: Identity of the codec.
        frames: Frames of the clips that the model makes.
        height: Their height in pixels.
        width: Their width in pixels.
        fps: Frames per second.
        dtype: Type of the stored numbers.
        parts: The clips. The parts of a side are in the order in which training reads them.
        captions: The encoded captions, if any.
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
        """The shape of the clips that the model makes."""
        return ClipShape(self.frames, self.height, self.width, self.fps)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type of the stored numbers."""
        return {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[self.dtype]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the whole manifest."""
        return fingerprint(self.model_dump(mode="json"))

    @cached_property
    def distinct_captions(self) -> tuple[str, ...]:
        """The empty caption, then every other caption once."""
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
    """The index of a finished folder.

    Args:
        manifest: What the folder holds; the key is `plan` in the file.
        digests: SHA-256 of each shard.
    """

    manifest: LatentManifest = Field(alias="plan")
    digests: dict[str, str]


class ShardRecord(StrictModel):
    """The record beside a finished shard.

    Args:
        manifest: Fingerprint of the manifest that it belongs to; the key is `plan` in the file.
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
        DataError: The index is missing, unfinished or malformed, or does not match its manifest.
    """
    path = folder / INDEX
    if not path.is_file():
        if (folder / MANIFEST).is_file():
            hint = "run the same `nas data encode` again, and it resumes"
            raise DataError("not all clips are encoded", where=folder, hint=hint)
        hint = "make them with `nas data encode`"
        raise DataError(f"no encoded clips: {INDEX} is missing", where=folder, hint=hint)
    try:
        value = read_json(path)
        plan = value.get("plan") if isinstance(value, dict) else None
        version = plan.get("version") if isinstance(plan, dict) else None
        if isinstance(version, int) and version != _VERSION:
            raise damaged_latents(folder, f"{INDEX} has version {version}, this nas reads version {_VERSION}")
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
