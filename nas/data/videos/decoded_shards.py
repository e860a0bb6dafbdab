"""Decoded clips on disk: safetensors shards of uint8 frames, and a JSON index that is written last.

A shard holds one tensor, `videos_NTCHW`: N clips of T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import safetensors.torch
import torch

from nas.data.clips.dataset import ClipShape
from nas.data.storage.tensor_shards import TensorShards
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, parse, read_json, write_json

INDEX = "index.json"
_TENSOR = "videos_NTCHW"
_SHARD_BYTES = 64 * 2**20


class ShardedClip(StrictModel):
    """One clip of the index: its name, its caption, and the place of its frames."""

    name: str
    caption: str
    shard: int
    row: int


class Shard(StrictModel):
    """One shard of the index; the digest reveals a damaged file."""

    file: str
    sha256: str


class ShardIndex(StrictModel):
    """The index of a cache folder.

    Args:
        fingerprint: Of the videos, captions and shape that the clips come from.
        clips: The clips in order.
        shards: The shards in order.
        damaged: Videos that cannot be decoded and were left out, each with the reason.
        short: Videos that are shorter than one clip and were left out.
    """

    fingerprint: str
    clips: tuple[ShardedClip, ...]
    shards: tuple[Shard, ...]
    damaged: dict[str, str] = {}
    short: tuple[str, ...] = ()


class ShardWriter:
    """Collects clips and writes them to `folder`, a shard at a time.

    Args:
        folder: An existing folder. Its content is incomplete until `finish` has written the index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clips: list[ShardedClip] = []
        self._shards: list[Shard] = []
        self._waiting: list[torch.Tensor] = []

    def add(self, name: str, caption: str, video_TCHW: torch.Tensor) -> None:
        """Append one clip."""
        self._clips.append(ShardedClip(name=name, caption=caption, shard=len(self._shards), row=len(self._waiting)))
        self._waiting.append(video_TCHW)
        if len(self._waiting) * video_TCHW.numel() >= _SHARD_BYTES:
            self._flush()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Keep all clips that are added in the block, or none of them if it raises."""
        clips, shards, waiting = len(self._clips), len(self._shards), len(self._waiting)
        try:
            yield
        except BaseException:
            del self._clips[clips:]
            self._take_back(shards, waiting)
            raise

    def finish(self, fingerprint: str, damaged: dict[str, str], short: Iterable[str]) -> ShardIndex:
        """Write the remaining clips, and the index."""
        self._flush()
        index = ShardIndex(
            fingerprint=fingerprint,
            clips=tuple(self._clips),
            shards=tuple(self._shards),
            damaged=damaged,
            short=tuple(short),
        )
        write_json(self.folder / INDEX, index.model_dump(mode="json"))
        return index

    def _take_back(self, shards: int, waiting: int) -> None:
        """Return to an earlier number of shards and of waiting clips; shards written since may hold those clips."""
        written = [self.folder / shard.file for shard in self._shards[shards:]]
        if written:
            self._waiting = list(safetensors.torch.load(written[0].read_bytes())[_TENSOR])
        del self._waiting[waiting:]
        del self._shards[shards:]
        for path in written:
            path.unlink()

    def _flush(self) -> None:
        if not self._waiting:
            return
        # Through bytes: a full disk then raises an OSError, which callers turn into one line.
        data = safetensors.torch.save({_TENSOR: torch.stack(self._waiting)})
        file = f"clips-{len(self._shards):05d}.safetensors"
        (self.folder / file).write_bytes(data)
        self._shards.append(Shard(file=file, sha256=hashlib.sha256(data).hexdigest()))
        self._waiting = []


class ShardReader:
    """Reads clips. The digest of a shard is checked before its first use.

    Args:
        folder: A folder that `ShardWriter` finished.
        index: Its index.
        shape: The shape that every clip must have.
    """

    def __init__(self, folder: Path, index: ShardIndex, shape: ClipShape) -> None:
        self.folder = folder
        self.index = index
        self.shape = shape
        self._shards = _shards(folder, index)

    def video(self, position: int) -> torch.Tensor:
        """`video_TCHW` of the clip at `position`.

        Raises:
            DataError: The shard is missing or damaged, or belongs to other videos.
        """
        clip = self.index.clips[position]
        return self._shards.row(self.index.shards[clip.shard].file, _TENSOR, clip.row, self.shape.size_TCHW)


def _shards(folder: Path, index: ShardIndex) -> TensorShards:
    digests = {shard.file: shard.sha256 for shard in index.shards}
    return TensorShards(folder, digests, damaged_cache)


def read_index(folder: Path, fingerprint: str) -> ShardIndex:
    """Read and check the index of a cache folder.

    Raises:
        DataError: The index is missing, malformed or belongs to other videos, or a shard is missing.
    """
    try:
        index = parse(read_json(folder / INDEX), ShardIndex, where=folder / INDEX)
    except ConfigError as problem:
        raise damaged_cache(folder, f"{INDEX}: {problem.what}") from problem
    if index.fingerprint != fingerprint:
        raise damaged_cache(folder, f"{INDEX} belongs to other videos")
    if any(not 0 <= clip.shard < len(index.shards) for clip in index.clips):
        raise damaged_cache(folder, f"{INDEX} names a shard that it does not list")
    _shards(folder, index).require_all()
    return index


def damaged_cache(folder: Path, what: str) -> DataError:
    """The error for a cache that cannot be used."""
    return DataError(f"cache of decoded clips: {what}", where=folder, hint="delete this folder, it is made again")
