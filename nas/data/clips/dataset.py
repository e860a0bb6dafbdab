"""A set of captioned clips of one shape, as pixels.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.data import Dataset

from nas.data.clips.captioned import CaptionedClips, GridSize, LatentClips, LatentCodec
from nas.data.clips.pixels import to_pixels
from nas.data.clips.sampling import ReadingOrder
from nas.errors import DataError
from nas.files import fingerprint


class VideoSettings(Protocol):
    """Settings that name frames, height, width and rate of clips."""

    @property
    def frames(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def fps(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class ClipShape:
    """The shape that all clips of a set have.

    Args:
        frames: Frames per clip; 1 gives still images.
        height: Height in pixels.
        width: Width in pixels.
        fps: Frames per second, so that a clip lasts `frames / fps` seconds.

    Raises:
        DataError: A number is not positive.
    """

    frames: int
    height: int
    width: int
    fps: float

    def __post_init__(self) -> None:
        for name in ("frames", "height", "width", "fps"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise DataError(f"clip shape: {name} must be positive, got {value}")

    @classmethod
    def of(cls, video: VideoSettings) -> ClipShape:
        """The shape of the clips that a search space makes, from its `video` settings."""
        return cls(video.frames, video.height, video.width, video.fps)

    @property
    def seconds(self) -> float:
        """Length of a clip in seconds."""
        return self.frames / self.fps

    @property
    def size(self) -> GridSize:
        """The shape without the rate."""
        return GridSize(self.frames, self.height, self.width)

    @property
    def size_TCHW(self) -> tuple[int, int, int, int]:
        """The shape of a clip's tensor."""
        return (self.frames, 3, self.height, self.width)


@dataclass(frozen=True)
class Clip:
    """One captioned video clip.

    Args:
        name: Unique in its set and the same on every machine. The part before `#`, if there is one, names
            the file that the clip was cut from.
        caption: What is seen, in one sentence.
        video_TCHW: RGB frames, uint8.
    """

    name: str
    caption: str
    video_TCHW: torch.Tensor


class ClipDataset(Dataset[Clip], CaptionedClips):
    """A map-style set of captioned clips of one shape.

    Names and captions are known without decoding, so a split, a vocabulary or a list of prompts decodes no video.
    A subclass implements `__getitem__`: the clip at an index from 0, or from the end if negative, and `IndexError`
    beyond the ends.

    Args:
        shape: The shape of every clip.
        names: The clips' names, in order.
        captions: The clips' captions, in order.
        fingerprint: A digest of everything that decides the clips. Two sets with the same fingerprint hold the same
            clips in the same order, on any machine.
        order: The order in which they are read; shuffled as a whole when left out.
    """

    decoded_when_read = False
    """As `LatentClips.decoded_when_read`."""

    def __init__(
        self,
        shape: ClipShape,
        names: Sequence[str],
        captions: Sequence[str],
        fingerprint: str,
        order: ReadingOrder | None = None,
    ) -> None:
        super().__init__(names, captions, fingerprint)
        self.shape = shape
        self.order = order or ReadingOrder((len(self.names),))

    @abstractmethod
    def __getitem__(self, index: int) -> Clip:
        """The clip at `index`."""

    def __iter__(self) -> Iterator[Clip]:
        return (self[index] for index in range(len(self)))

    def batch(self, indices: Sequence[int]) -> tuple[torch.Tensor, tuple[str, ...]]:
        """The clips at `indices` as one uint8 tensor `x_BTCHW`, and their captions."""
        clips = [self[index] for index in indices]
        return torch.stack([clip.video_TCHW for clip in clips]), tuple(clip.caption for clip in clips)

    @property
    def names_by_size(self) -> tuple[tuple[str, ...], ...]:
        """The names, grouped by the size of the clips. The size that the model makes comes first."""
        return (self.names,)

    def subset(self, indices: Sequence[int]) -> ClipSubset:
        """A set of the clips at `indices`, which must ascend."""
        return ClipSubset(self, indices)

    def latents(self, codec: LatentCodec) -> tuple[LatentClips, ...]:
        """Clips that are encoded each time they are read."""
        return (EncodedClips(self, codec),)


class EncodedClips(LatentClips):
    """Clips that are encoded each time they are read.

    Args:
        clips: The clips.
        codec: Encodes them.
    """

    def __init__(self, clips: ClipDataset, codec: LatentCodec) -> None:
        super().__init__(clips.names, clips.captions, clips.order, clips.shape.size)
        self.clips, self.codec = clips, codec
        self.decoded_when_read = clips.decoded_when_read

    def videos(self, indices: Sequence[int]) -> torch.Tensor:
        """Encode whole clips."""
        video_BTCHW, _ = self.clips.batch(indices)
        return self.codec.encode(to_pixels(video_BTCHW))

    def images(self, indices: Sequence[int], frame_B: torch.Tensor) -> torch.Tensor:
        """Encode one frame of each clip, and no other frame."""
        video_BTCHW, _ = self.clips.batch(indices)
        return self.codec.encode(to_pixels(video_BTCHW[torch.arange(len(indices)), frame_B].unsqueeze(1)))


class ClipSubset(ClipDataset):
    """The clips of `dataset` at `indices`, in that order."""

    def __init__(self, dataset: ClipDataset, indices: Sequence[int]) -> None:
        self.dataset, self.decoded_when_read = dataset, dataset.decoded_when_read
        self.indices = tuple(checked_index(index, len(dataset)) for index in indices)
        super().__init__(
            dataset.shape,
            [dataset.names[index] for index in self.indices],
            [dataset.captions[index] for index in self.indices],
            fingerprint([dataset.fingerprint, self.indices]),
            dataset.order.subset(self.indices),
        )

    def __getitem__(self, index: int) -> Clip:
        """The clip of `dataset` at position `index` of this subset."""
        return self.dataset[self.indices[checked_index(index, len(self))]]


def checked_index(index: int, length: int) -> int:
    """`index` as a number from 0; a negative one counts from the end; `IndexError` if it is outside."""
    if not -length <= index < length:
        raise IndexError(f"clip {index} of {length}")
    return index % length


def source_file(name: str) -> str:
    """The file that a clip was cut from; the name of the clip if it was not cut."""
    return name.rpartition("#")[0] or name
