"""Encoding of clips into a folder of shards, by any number of processes and machines at once.

A shard file appears whole, and after it a record with its digest, which marks it as finished. A process locks the shard
that it encodes, and the operating system releases the lock when the process ends, however it ends. So there is nothing
to clean up, and the next process encodes what a killed one has not finished. On a file system whose locks are local to
a machine, two machines may encode the same shard; this costs time and does no harm.

Shape suffixes: N clips or captions of a shard, L text tokens, D text width.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from nas.data import DataSplit, LatentClips
from nas.data.latents.manifest import (
    CONTEXTS,
    INDEX,
    LATENTS,
    MANIFEST,
    LatentIndex,
    LatentManifest,
    LatentShard,
    ShardRecord,
    damaged_latents,
    read_latent_index,
)
from nas.errors import ConfigError, DataError
from nas.files import atomic_write, lock, parse, read_json, write_json, write_yaml
from nas.models import Codec, TextEncoder, make_text_encoder
from nas.models.parts import unloaded_codec
from nas.space import SearchSpace
from nas.training.encoding.manifest import sources_of

_BATCH = 8  # Clips or captions that are encoded together.


class EncodingJob:
    """Encodes clips into a folder.

    Args:
        space: Search space, which names codec and text encoder.
        data: The clips.
        manifest: Contents of the folder, as `make_manifest` returns them for both.
        folder: The folder.
        device: Device that encodes clips and captions.
    """

    def __init__(
        self, space: SearchSpace, data: DataSplit, manifest: LatentManifest, folder: Path, device: torch.device
    ) -> None:
        self.space, self.data, self.manifest, self.folder, self.device = space, data, manifest, folder, device
        self.shards = tuple(manifest.shards())

    def begin(self) -> None:
        """Write the manifest, or resume with the one in the folder.

        Raises:
            DataError: The folder holds something else.
            StorageError: The folder cannot be written.
        """
        path = self.folder / MANIFEST
        files = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        foreign = [file.name for file in files if not file.name.startswith(".")]
        if foreign and not path.is_file():
            hint = "give a new or an empty folder"
            raise DataError(f"holds something else already: {foreign[0]}", where=self.folder, hint=hint)
        with self._locked(MANIFEST, wait=True):
            if path.is_file():
                self._compare(path)
            else:
                write_json(path, self.manifest.model_dump(mode="json"))

    def work(self, stopped: Callable[[], bool] = lambda: False) -> None:
        """Encode the shards that no other process is encoding, then those that others did not finish.

        Args:
            stopped: Called between shards; the work ends if it returns true.

        Raises:
            DataError: A clip cannot be read, or its latents do not fit the type they are stored in.
        """
        for wait in (False, True):
            for shard in self.shards:
                if stopped():
                    return
                if not self.is_done(shard):
                    self._claim(shard, wait=wait)

    def done(self) -> int:
        """Number of finished shards, of all processes."""
        names = {path.name for path in self.folder.iterdir()}  # listed once: there may be many shards
        return sum(shard.record in names and shard.file in names for shard in self.shards)

    def is_done(self, shard: LatentShard) -> bool:
        """Whether a shard is finished."""
        return (self.folder / shard.record).is_file() and (self.folder / shard.file).is_file()

    def finish(self) -> LatentIndex:
        """Write the index of the finished shards, and a file for `--data`.

        Raises:
            DataError: A shard belongs to something else.
        """
        with self._locked(INDEX, wait=True):
            if not (self.folder / INDEX).is_file():
                digests = {shard.file: self._record(shard).sha256 for shard in self.shards}
                index = LatentIndex(plan=self.manifest, digests=digests)
                write_yaml(self.folder / "data.yaml", self._data_file())
                write_json(self.folder / INDEX, index.model_dump(mode="json", by_alias=True))
        return read_latent_index(self.folder)

    def _data_file(self) -> dict[str, Any]:
        """Contents of the file for `--data`; training holds out the same clips."""
        return {"data": {"kind": "latents", "path": "."}, "validation_fraction": self.manifest.validation_fraction}

    def _compare(self, path: Path) -> None:
        try:
            written = parse(read_json(path), LatentManifest, where=path)
        except ConfigError as problem:
            raise damaged_latents(self.folder, f"{MANIFEST}: {problem.what}") from problem
        names = LatentManifest.model_fields
        differing = [name for name in names if getattr(written, name) != getattr(self.manifest, name)]
        if differing:
            hint = "encode into another folder, or delete this one"
            what = f"holds clips that were encoded with other settings: {', '.join(differing)} of {MANIFEST} differ"
            raise DataError(what, where=self.folder, hint=hint)

    def _claim(self, shard: LatentShard, *, wait: bool) -> None:
        with self._locked(shard.file, wait=wait) as held:
            if held and not self.is_done(shard):
                self._write(shard)

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold the lock of one file of the folder, and remove it; yields whether this process holds it."""
        path = self.folder / f".{name}.lock"
        with lock(path, wait=wait) as held:
            yield held
            if held:
                path.unlink(missing_ok=True)

    def _write(self, shard: LatentShard) -> None:
        name = CONTEXTS if shard.part is None else LATENTS
        rows = [self._stored(values, shard) for values in self._encoded(shard)]
        data = safetensors.torch.save({name: torch.cat(rows)})
        # If machines do not see each other's locks, another one may have finished the shard meanwhile. Then its digest
        # may be in the index already, and temporary files may have been removed.
        if self.is_done(shard):
            return
        try:
            with atomic_write(self.folder / shard.file) as temporary:
                temporary.write_bytes(data)
        except FileNotFoundError:
            if not self.is_done(shard):
                raise
            return
        record = ShardRecord(plan=self.manifest.fingerprint, sha256=hashlib.sha256(data).hexdigest())
        write_json(self.folder / shard.record, record.model_dump(by_alias=True))

    @torch.no_grad()
    def _encoded(self, shard: LatentShard) -> Iterator[torch.Tensor]:
        for start in range(shard.rows.start, shard.rows.stop, _BATCH):
            rows = range(start, min(start + _BATCH, shard.rows.stop))
            if shard.part is None:
                yield self.text_encoder.encode(self.manifest.distinct_captions[rows.start : rows.stop])
            else:
                yield self.sources[shard.part].videos(rows)

    def _stored(self, values: torch.Tensor, shard: LatentShard) -> torch.Tensor:
        stored = values.to(self.manifest.torch_dtype).cpu()
        if not torch.isfinite(stored).all():
            hint = "store them as bfloat16 or float32; if that fails, too, the encoder returns infinite numbers"
            raise DataError(f"numbers do not fit {self.manifest.dtype}", where=self.folder / shard.file, hint=hint)
        return stored

    def _record(self, shard: LatentShard) -> ShardRecord:
        path = self.folder / shard.record
        try:
            record = parse(read_json(path), ShardRecord, where=path)
        except ConfigError as problem:
            raise damaged_latents(self.folder, f"{shard.record}: {problem.what}") from problem
        if record.manifest != self.manifest.fingerprint:
            raise damaged_latents(self.folder, f"{shard.file} belongs to another manifest")
        return record

    @cached_property
    def sources(self) -> Sequence[LatentClips]:
        """Clips of each part, encoded when they are read."""
        codec = _OnDevice(unloaded_codec(self.space).to(self.device), self.device)
        sides = tuple(dict.fromkeys(part.side for part in self.manifest.parts))
        return [source for _, source in sources_of(self.data, sides, codec)]

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder."""
        return make_text_encoder(self.space).to(self.device).eval()


class _OnDevice:
    """A codec that moves pixels to its device before it encodes them."""

    def __init__(self, codec: Codec, device: torch.device) -> None:
        self.codec, self.device = codec, device

    @property
    def identity(self) -> str:
        return self.codec.identity

    def encode(self, video_BTCHW: torch.Tensor) -> torch.Tensor:
        return self.codec.encode(video_BTCHW.to(self.device))
