"""Clips of videos and images in tars, decoded when they are read.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nas.data.clips.buckets import BucketedClips, best_size
from nas.data.clips.captioned import GridSize
from nas.data.clips.dataset import Clip, ClipDataset, ClipShape, checked_index
from nas.data.clips.sampling import ReadingOrder
from nas.data.storage.cache import ClipCache
from nas.data.tars.index import TarIndex, TarSample, index_tars, media_of, stamp
from nas.data.tars.paths import find_tars
from nas.data.videos.captions import shortened
from nas.data.videos.decoding import iter_clips_from
from nas.errors import DataError
from nas.files import fingerprint

logger = logging.getLogger("nas")

_VERSION = 2  # Raise it when the same files give other clips.


@dataclass(frozen=True)
class Tar:
    """One tar of a set.

    Args:
        name: Its path below the folder of the set.
        path: The file.
        index: Its index.
    """

    name: str
    path: Path
    index: TarIndex


@dataclass(frozen=True)
class _Cut:
    """One clip: the tar, the sample in it, and the number of the clip in the sample."""

    tar: Tar
    sample: TarSample
    number: int

    @property
    def name(self) -> str:
        return f"{self.tar.name}/{self.sample.name}#{self.number}"


_Open = deque[tuple[_Cut | None, Iterator[torch.Tensor]]]
"""A video that is open, and its next clip."""


class TarDataset(ClipDataset):
    """Clips of one shape from tars; made by `open_tars`.

    Args:
        tars: All tars of the set.
        shape: Shape of the clips.
        sizes: All sizes that clips may have; a video belongs here if this shape fits it best.
        window: Tars that are read at the same time; see `ReadingOrder`.
    """

    decoded_when_read = True

    def __init__(self, tars: Sequence[Tar], shape: ClipShape, sizes: Sequence[GridSize], window: int) -> None:
        self.cuts = tuple(
            _Cut(tar, sample, number)
            for tar in tars
            for sample in tar.index.samples
            if best_size(sample.extent, sizes) == shape.size
            for number in range(sample.frames // shape.frames)
        )
        counts = Counter(cut.tar.name for cut in self.cuts)
        order = ReadingOrder(tuple(counts[tar.name] for tar in tars), window)
        content = [(tar.name, tar.index.digest, tar.index.size) for tar in tars]
        captions = [cut.sample.caption for cut in self.cuts]
        names = [cut.name for cut in self.cuts]
        digest = fingerprint(["tars", _VERSION, shape.size_TCHW, float(shape.fps), content, names, captions, window])
        super().__init__(shape, names, captions, digest, order)
        self._open: _Open = deque(maxlen=1)

    def __getitem__(self, index: int) -> Clip:
        """Decode the clip at `index`.

        Raises:
            DataError: The tar has changed since it was indexed, or cannot be read.
        """
        cut = self.cuts[checked_index(index, len(self))]
        return Clip(cut.name, cut.sample.caption, self._video(cut))

    def __getstate__(self) -> dict[str, Any]:
        """The state without the open video, for worker processes."""
        return self.__dict__ | {"_open": deque(maxlen=1)}

    def _video(self, cut: _Cut) -> torch.Tensor:
        """Decode a clip. The video stays open, so that the clips of a long one can be read in order."""
        path, index = cut.tar.path, cut.tar.index
        if stamp(path) != (index.size, index.mtime_ns):
            raise DataError("has changed since it was indexed", where=path, hint="run the same command again")
        videos = self._opened(cut)
        try:
            video_TCHW = next(videos, None)
        except OSError as problem:
            raise DataError(f"cannot be read: {problem.strerror}", where=path) from problem
        self._open.append((replace(cut, number=cut.number + 1), videos))
        if video_TCHW is None:
            raise DataError(f"{cut.sample.name} has other frames than when it was indexed", where=path)
        return video_TCHW

    def _opened(self, cut: _Cut) -> Iterator[torch.Tensor]:
        """The clips of a video from one on; the open video continues if that clip comes next."""
        try:
            coming, videos = self._open.pop()  # in one step, so that no other thread reads it as well
        except IndexError:
            coming, videos = None, iter(())
        if coming == cut:
            return videos
        count = cut.sample.frames // self.shape.frames
        return iter_clips_from(media_of(cut.tar.path, cut.sample), self.shape, cut.number, count)


def open_tars(
    path: Path, shape: ClipShape, sizes: Sequence[GridSize], *, window: int, cache: Path | None = None
) -> ClipDataset | BucketedClips:
    """Open tars; index them if that has not been done.

    Samples that cannot be used and damaged tars are left out with a warning.

    Args:
        path: The folder, a tar, or a pattern; see `find_tars`.
        shape: Shape and rate of the clips that the model makes.
        sizes: Sizes of the clips, the size that the model makes first.
        window: Tars that are read at the same time.
        cache: Folder for indices; see `ClipCache` for the default.

    Raises:
        DataError: There are no tars, or no usable sample in them.
        StorageError: An index cannot be written.
    """
    named = find_tars(path)
    root, paths = named.root, named.paths
    indices = index_tars(paths, shape.fps, ClipCache(root, cache))
    tars = [Tar(tar.relative_to(root).as_posix(), tar, index) for tar, index in zip(paths, indices, strict=True)]
    left_out, total = _left_out(tars, sizes)
    unread = [f"{name} ({reason})" for name, reason in named.left_out.items()]
    left_out, total = unread + left_out, total + len(unread)
    parts = [TarDataset(tars, ClipShape(size.frames, size.height, size.width, shape.fps), sizes, window)
             for size in sizes]  # fmt: skip
    if not any(map(len, parts)):
        raise DataError(f"no usable video or image: {shortened(left_out)}", where=path)
    if left_out:
        logger.warning("%s: left out %d of %d samples: %s", path, len(left_out), total, shortened(left_out))
    return parts[0] if len(parts) == 1 else BucketedClips([part for part in parts if len(part)], shape.size)


def _left_out(tars: Sequence[Tar], sizes: Sequence[GridSize]) -> tuple[list[str], int]:
    """The samples that are left out, with reasons, and the total number of samples."""
    left_out = [
        f"{tar.name}/{name} ({reason})" if name != "." else f"{tar.name} ({reason})"
        for tar in tars
        for name, reason in tar.index.damaged.items()
    ]
    damaged = len(left_out)
    shortest = min(size.frames for size in sizes)
    left_out += [
        f"{tar.name}/{sample.name} (shorter than {shortest} frames)"
        for tar in tars
        for sample in tar.index.samples
        if best_size(sample.extent, sizes) is None
    ]
    return left_out, damaged + sum(len(tar.index.samples) for tar in tars)
