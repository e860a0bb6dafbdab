"""A folder of real videos with captions as a set of clips, which are decoded once and cached."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from nas.data.clips.dataset import Clip, ClipDataset, ClipShape, checked_index
from nas.data.storage.cache import ClipCache
from nas.data.videos.captions import CaptionedFile, read_captions, shortened
from nas.data.videos.decoded_shards import ShardIndex, ShardReader, ShardWriter, read_index
from nas.data.videos.decoding import iter_clips
from nas.data.videos.media import Media
from nas.errors import DataError
from nas.files import atomic_folder, fingerprint, sampled_digest
from nas.progress import progress_bar

logger = logging.getLogger("nas")

_VERSION = 2  # Raise it when the same files give other clips.


class VideoDataset(ClipDataset):
    """Clips cut from a folder of real videos; made by `open`.

    A long video gives several clips without overlap, named `walk.mp4#0`, `walk.mp4#1`, ...

    Args:
        reader: The decoded clips.
    """

    def __init__(self, reader: ShardReader) -> None:
        self.reader = reader
        index = reader.index
        names, captions = [clip.name for clip in index.clips], [clip.caption for clip in index.clips]
        super().__init__(reader.shape, names, captions, index.fingerprint)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        shape: ClipShape,
        *,
        captions: str = "captions.csv",
        cache: str | Path | None = None,
        files: Sequence[CaptionedFile] | None = None,
    ) -> VideoDataset:
        """Open a folder of videos; decode it if that has not been done.

        A video that cannot be decoded, or is shorter than one clip, is left out with a warning.

        Args:
            folder: Holds the videos and the captions file.
            shape: Shape and rate of the clips.
            captions: The captions file below `folder`: a CSV with the columns `file` and `caption`.
            cache: Folder for decoded clips, which are kept in a subfolder named after the fingerprint of the videos,
                captions and shape. See `ClipCache` for the default.
            files: The rows of the captions file to use; all if `None`.

        Raises:
            DataError: The folder, its captions file or its cache cannot be used, or no video is usable.
            StorageError: The cache cannot be written.
        """
        folder = Path(folder)
        files = read_captions(folder, captions) if files is None else files
        digest = _fingerprint(files, shape)
        place = ClipCache(folder, None if cache is None else Path(cache))
        store = place.find(digest)
        if store is None:
            store = place.writable() / digest
            index = _decode(folder, files, shape, store)
        else:
            index = read_index(store, digest)
        _warn(folder, index, len(files), shape)
        return cls(ShardReader(store, index, shape))

    def __getitem__(self, index: int) -> Clip:
        """Read the clip at `index`; `DataError` if its shard is damaged."""
        index = checked_index(index, len(self))
        return Clip(self.names[index], self.captions[index], self.reader.video(index))


def _decode(folder: Path, files: Sequence[CaptionedFile], shape: ClipShape, store: Path) -> ShardIndex:
    """Decode all files into the cache folder `store`, which appears only when it is complete."""
    damaged: dict[str, str] = {}
    short: list[str] = []
    with atomic_folder(store, "clips") as temporary, progress_bar("decoding videos", len(files)) as advance:
        writer = ShardWriter(temporary)
        for file in files:
            try:
                if not _add(writer, file, shape):
                    short.append(file.name)
            except DataError as problem:
                damaged[file.name] = problem.what
            advance(file.name)
        index = writer.finish(_fingerprint(files, shape), damaged, short)
        if not index.clips:
            raise DataError(f"no usable video: {_left_out(index, shape)}", where=folder)
    return index


def _add(writer: ShardWriter, file: CaptionedFile, shape: ClipShape) -> int:
    """Add the clips of a file, or none of them if it is damaged; return their number."""
    count = 0
    with writer.together():
        for video_TCHW in iter_clips(Media.file(file.path), shape):
            writer.add(f"{file.name}#{count}", file.caption, video_TCHW)
            count += 1
    return count


def _warn(folder: Path, index: ShardIndex, files: int, shape: ClipShape) -> None:
    if index.damaged or index.short:
        count = len(index.damaged) + len(index.short)
        logger.warning("%s: left out %d of %d videos: %s", folder, count, files, _left_out(index, shape))


def _left_out(index: ShardIndex, shape: ClipShape) -> str:
    parts = []
    if index.damaged:
        names = [f"{name} ({reason})" for name, reason in index.damaged.items()]
        parts.append(f"{len(names)} damaged: {shortened(names)}")
    if index.short:
        parts.append(f"{len(index.short)} shorter than {shape.seconds:g} s: {shortened(list(index.short))}")
    return "; ".join(parts)


def _fingerprint(files: Sequence[CaptionedFile], shape: ClipShape) -> str:
    """A digest of the contents, not of dates, so that copies of a folder have the same one."""
    rows = [(file.name, file.caption, sampled_digest(file.path, error=DataError)) for file in files]
    return fingerprint(["videos", _VERSION, shape.size_TCHW, float(shape.fps), rows])
