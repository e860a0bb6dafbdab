"""The manifest of a folder of encoded clips, made before anything is encoded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from nas.data import VALIDATION_FRACTION, DataSplit, LatentClips, LatentCodec
from nas.data.latents.manifest import EncodedCaptions, EncodedClip, EncodedPart, LatentManifest, Precision, Side
from nas.files import fingerprint
from nas.models.parts import text_identity, unloaded_codec
from nas.space import SearchSpace

SHARD_BYTES = 64 * 2**20


def sources_of(data: DataSplit, sides: Sequence[Side], codec: LatentCodec) -> tuple[tuple[Side, LatentClips], ...]:
    """Clips to encode, grouped by side and size, in the order of the manifest's parts.

    Raises:
        DataError: There are no clips.
    """
    return tuple((side, source) for side in sides for source in getattr(data, side).latents(codec))


def make_manifest(
    space: SearchSpace,
    data: DataSplit,
    *,
    sides: Sequence[Side],
    dtype: Precision,
    shard_bytes: int = SHARD_BYTES,
    validation_fraction: float = VALIDATION_FRACTION,
) -> LatentManifest:
    """Make the manifest. Equal clips, spaces and settings have equal manifests on every machine.

    Args:
        space: Search space, which names codec and text encoder.
        data: The clips.
        sides: Sides of the split to encode.
        dtype: Type of stored numbers.
        shard_bytes: Size of a shard; it holds at least one clip.
        validation_fraction: Fraction that `data` was split with.

    Raises:
        DataError: There are no clips.
        CheckpointError: The folder of a codec or text encoder is missing.
    """
    item_bytes = getattr(torch, dtype).itemsize
    identity, shape = text_identity(space), space.context_shape
    video, codec = space.file.video, unloaded_codec(space)
    return LatentManifest(
        data=fingerprint([data.train.fingerprint, data.validation.fingerprint]),
        validation_fraction=validation_fraction,
        codec=codec.identity,
        frames=video.frames,
        height=video.height,
        width=video.width,
        fps=video.fps,
        dtype=dtype,
        parts=tuple(
            _part(space, side, source, shard_bytes // item_bytes) for side, source in sources_of(data, sides, codec)
        ),
        captions=None
        if identity is None
        else EncodedCaptions(identity=identity, shape=shape, rows=_rows(shape, shard_bytes // item_bytes)),
    )


def _part(space: SearchSpace, side: Side, source: LatentClips, numbers: int) -> EncodedPart:
    codec, size = space.file.codec, source.size
    factor, frames = codec.spatial_factor, -(-size.frames // codec.temporal_factor)
    latent = (frames, codec.latent_channels, size.height // factor, size.width // factor)
    clips = zip(source.names, source.captions, strict=True)
    return EncodedPart(
        side=side,
        frames=size.frames,
        height=size.height,
        width=size.width,
        latent=latent,
        clips=tuple(EncodedClip(name=name, caption=caption) for name, caption in clips),
        source_shards=source.order.shards,
        window=source.order.window,
        rows=_rows(latent, numbers),
    )


def _rows(shape: Sequence[int], numbers: int) -> int:
    """Number of tensors of a shape in a shard of some numbers."""
    return max(numbers // math.prod(shape), 1)
