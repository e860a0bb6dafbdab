"""Clips of several sizes. Each video has the size that fits it best.

A batch holds clips of one size. Videos of other shapes, and images, can train the model without being cropped to its
shape. The model learns to make clips of all sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt

from nas.data.clips.captioned import CaptionedClips, GridSize, LatentClips, LatentCodec
from nas.data.clips.dataset import ClipDataset, ClipShape
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, fingerprint


class Bucket(StrictModel):
    """One size that clips may have.

    Args:
        frames: Frames per clip; images need 1.
        height: Height in pixels.
        width: Width in pixels.
    """

    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt

    @property
    def size(self) -> GridSize:
        """The size as a `GridSize`."""
        return GridSize(self.frames, self.height, self.width)


def check_buckets(buckets: Sequence[Bucket], native: ClipShape, multiple: int) -> tuple[GridSize, ...]:
    """Check the sizes that a configuration lists, and put the size that the model makes first.

    Args:
        buckets: The sizes in the configuration.
        native: Shape of the clips that the model makes.
        multiple: Height and width must be multiples of this, for the codec and the backbone.

    Raises:
        ConfigError: A size is impossible or listed twice, or the size that the model makes is missing.
    """
    sizes: list[GridSize] = []
    for place, bucket in enumerate(buckets):
        key = f"data.buckets[{place}]"
        for name in ("height", "width"):
            if (value := getattr(bucket, name)) % multiple:
                why = "which the codec and the downsampling of the backbone need"
                raise ConfigError(f"{key}.{name}: expected a multiple of {multiple}, {why}, got {value}")
        if bucket.frames > native.frames:
            raise ConfigError(
                f"{key}.frames: the model makes clips of {native.frames} frames, {bucket.frames} are too many"
            )
        if bucket.size in sizes:
            raise ConfigError(f"{key}: {bucket.size.text} is listed twice")
        sizes.append(bucket.size)
    if native.size not in sizes:
        raise ConfigError(
            f"data.buckets: {native.size.text} is missing, the size of the clips that the model makes and is judged by",
            hint=f"add {{frames: {native.frames}, height: {native.height}, width: {native.width}}}",
        )
    return (native.size, *(size for size in sizes if size != native.size))


def best_size(extent: GridSize, sizes: Sequence[GridSize]) -> GridSize | None:
    """The size that keeps most of a video; `None` where it is shorter than all of them.

    Of the sizes whose frames it can fill, those with most frames; of these, the one whose aspect crops least of a
    frame; of those that crop equally, the one that keeps most pixels of what is left; and then the first.

    Args:
        extent: Of the video, at the rate of the clips.
        sizes: To choose from.
    """
    fitting = [size for size in sizes if size.frames <= extent.frames]
    return max(fitting, key=lambda size: _kept(extent, size)) if fitting else None


def _kept(extent: GridSize, size: GridSize) -> tuple[int, float, float]:
    """Frames, share of a frame that is left when it is cropped, pixels that are left when that is resized."""
    wide, wanted = extent.width * size.height, size.width * extent.height
    share = min(wide, wanted) / max(wide, wanted)
    return size.frames, share, min(share * extent.height * extent.width, size.height * size.width)


class BucketedClips(CaptionedClips):
    """Clips of several sizes.

    Args:
        parts: The clips of each size, without empty parts. The size that the model makes comes first.
        native: The size that the model makes.
    """

    def __init__(self, parts: Sequence[ClipDataset], native: GridSize) -> None:
        self.parts = tuple(parts)
        self.native = native
        super().__init__(
            [name for part in parts for name in part.names],
            [caption for part in parts for caption in part.captions],
            fingerprint([part.fingerprint for part in parts]),
        )

    @property
    def names_by_size(self) -> tuple[tuple[str, ...], ...]:
        """The names, grouped by the size of the clips."""
        return tuple(part.names for part in self.parts)

    def subset(self, indices: Sequence[int]) -> BucketedClips:
        """A set of the clips at `indices`, without sizes that have no clips left."""
        chosen: list[ClipDataset] = []
        start = 0
        for part in self.parts:
            places = [index - start for index in indices if start <= index < start + len(part)]
            start += len(part)
            if places:
                chosen.append(part.subset(places))
        return BucketedClips(chosen, self.native)

    def latents(self, codec: LatentCodec) -> tuple[LatentClips, ...]:
        """The latents of all sizes; raises `DataError` if no clip has the size that the model makes."""
        if not self.parts or self.parts[0].shape.size != self.native:
            hint = "add longer videos, or choose other buckets"
            raise DataError(f"no clip of {self.native.text}, which the model makes", hint=hint)
        return tuple(source for part in self.parts for source in part.latents(codec))
