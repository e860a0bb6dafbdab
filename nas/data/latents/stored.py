"""Clips that were encoded in advance, as training reads them. They need no codec and no frozen text encoder.

Shape suffixes: B clips, T frames, C channels, H height, W width of latents, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch

from nas.data.clips.captioned import CaptionedClips, LatentClips, LatentCodec
from nas.data.latents.manifest import (
    CONTEXTS,
    LATENTS,
    EncodedCaptions,
    EncodedPart,
    LatentIndex,
    Side,
    damaged_latents,
    latent_file,
    read_latent_index,
)
from nas.data.storage.tensor_shards import TensorShards
from nas.errors import DataError
from nas.files import fingerprint


class StoredLatentClips(LatentClips):
    """Clips of one size.

    Args:
        part: Their entry in the index.
        number: The number of that entry.
        shards: Their shards.
    """

    def __init__(self, part: EncodedPart, number: int, shards: TensorShards) -> None:
        captions = [clip.caption for clip in part.clips]
        super().__init__([clip.name for clip in part.clips], captions, part.order, part.size)
        self.part, self.number, self.shards = part, number, shards

    def videos(self, indices: Sequence[int]) -> torch.Tensor:
        """Read the latents of whole clips."""
        return torch.stack([self._clip(index) for index in indices])

    def images(self, indices: Sequence[int], frame_B: torch.Tensor) -> torch.Tensor:
        """Read one frame of each clip, if frames were encoded one by one."""
        if self.part.latent[0] != self.part.frames:
            # A latent frame that encodes several frames is not the encoding of one of them.
            raise DataError(
                f"{self.part.frames} frames were encoded to {self.part.latent[0]}, so single frames cannot be read",
                where=self.shards.folder,
                hint="set image_batch_size: 0, or train on the clips themselves",
            )
        return self.videos(indices)[torch.arange(len(indices)), frame_B].unsqueeze(1)

    def _clip(self, index: int) -> torch.Tensor:
        shard, row = divmod(index, self.part.rows)
        return self.shards.row(latent_file(self.number, shard), LATENTS, row, self.part.latent).float()


class StoredContexts:
    """The contexts of captions, from a frozen text encoder.

    Args:
        encoded: Their entry in the index.
        captions: The captions, in order. The first one is empty.
        shards: Their shards.
    """

    def __init__(self, encoded: EncodedCaptions, captions: Sequence[str], shards: TensorShards) -> None:
        self.encoded, self.shards = encoded, shards
        self._places = {caption: place for place, caption in enumerate(captions)}

    @property
    def identity(self) -> str:
        """The identity of the encoder that read them."""
        return self.encoded.identity

    def read(self, captions: Sequence[str]) -> torch.Tensor:
        """Read the contexts of captions that were encoded."""
        unknown = [caption for caption in captions if caption not in self._places]
        if unknown:
            hint = "prompts of other clips need the text encoder itself"
            raise DataError(f"caption {unknown[0]!r} was not encoded", where=self.shards.folder, hint=hint)
        contexts = [self._empty if not caption else self._read(self._places[caption]) for caption in captions]
        return torch.stack(contexts) if contexts else torch.zeros(0, *self.encoded.shape)

    @cached_property
    def _empty(self) -> torch.Tensor:
        """The context of the empty caption, which every batch needs."""
        return self._read(0)

    def _read(self, place: int) -> torch.Tensor:
        shard, row = divmod(place, self.encoded.rows)
        return self.shards.row(f"contexts-{shard:05d}.safetensors", CONTEXTS, row, self.encoded.shape).float()


class StoredLatents(CaptionedClips):
    """One side of a folder of encoded clips.

    Args:
        folder: The folder.
        index: Its index.
        side: For training, or held out. It may have no clips.
        shards: Its shards.
        contexts: Its encoded captions, if any.
    """

    def __init__(
        self, folder: Path, index: LatentIndex, side: Side, shards: TensorShards, contexts: StoredContexts | None
    ) -> None:
        numbered = [(number, part) for number, part in enumerate(index.manifest.parts) if part.side == side]
        self.sources = tuple(StoredLatentClips(part, number, shards) for number, part in numbered)
        names = [name for source in self.sources for name in source.names]
        captions = [caption for source in self.sources for caption in source.captions]
        super().__init__(names, captions, fingerprint(["latents", index.manifest.fingerprint, side]), contexts)
        self.folder, self.manifest, self.side = folder, index.manifest, side

    @classmethod
    def open(cls, folder: str | Path) -> tuple[StoredLatents, StoredLatents]:
        """Open both sides of a folder that `nas data encode` has finished: the clips to train on, and those held out.

        Raises:
            DataError: The folder is missing, not finished or damaged.
        """
        folder = Path(folder)
        index = read_latent_index(folder)
        shards = TensorShards(folder, index.digests, damaged_latents)
        shards.require_all()
        encoded = index.manifest.captions
        contexts = None if encoded is None else StoredContexts(encoded, index.manifest.distinct_captions, shards)
        return cls(folder, index, "train", shards, contexts), cls(folder, index, "validation", shards, contexts)

    def latents(self, codec: LatentCodec) -> tuple[LatentClips, ...]:
        """The stored latents; of the codec, only the identity is used."""
        if not self.sources:
            hint = "encode them into another folder, with --split all"
            raise DataError(f"holds no clips for {_PURPOSE[self.side]}", where=self.folder, hint=hint)
        if codec.identity != self.manifest.codec:
            raise DataError(
                f"the clips were encoded with another codec: {self.manifest.codec}, not {codec.identity}",
                where=self.folder,
                hint="encode them again for this search space, into another folder",
            )
        return self.sources


_PURPOSE = {"train": "training", "validation": "validation"}
