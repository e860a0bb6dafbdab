"""A folder of real videos whose clips have several sizes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from nas.data.clips.buckets import BucketedClips, best_size
from nas.data.clips.captioned import GridSize
from nas.data.clips.dataset import ClipShape
from nas.data.storage.cache import ClipCache
from nas.data.videos.captions import CaptionedFile, read_captions, shortened
from nas.data.videos.decoding import measure
from nas.data.videos.folder import VideoDataset
from nas.data.videos.media import Media
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, fingerprint, parse, read_json, sampled_digest, write_json
from nas.progress import progress_bar

logger = logging.getLogger("nas")

_VERSION = 2  # Raise it when the same files have other sizes.


class Extents(StrictModel):
    """How large the videos of a folder are.

    Args:
        sizes: Frames at the rate of the clips, height and width of each.
        damaged: Videos that cannot be decoded, each with the reason.
    """

    sizes: dict[str, tuple[int, int, int]]
    damaged: dict[str, str]


def open_bucketed_videos(
    folder: Path, shape: ClipShape, sizes: Sequence[GridSize], *, captions: str, cache: Path | None = None
) -> BucketedClips:
    """Open a folder of videos, each cut to the size that fits it best; decode it if that has not been done.

    Args:
        folder: Holds the videos and the captions file.
        shape: Shape and rate of the clips that the model makes.
        sizes: Sizes of the clips, the size that the model makes first.
        captions: The captions file; see `VideoDataset.open`, also for videos that are left out.
        cache: Folder for decoded clips, as there.

    Raises:
        DataError: The folder, its captions file or its cache cannot be used, or no video is usable.
        StorageError: The cache cannot be written.
    """
    files = read_captions(folder, captions)
    extents = _measured(files, shape.fps, ClipCache(folder, cache))
    parts = []
    for size in sizes:
        fitting = [file for file in files if _best(file, extents, sizes) == size]
        if fitting:
            form = ClipShape(size.frames, size.height, size.width, shape.fps)
            parts.append(VideoDataset.open(folder, form, captions=captions, cache=cache, files=fitting))
    _warn(folder, files, extents, sizes)
    if not parts:
        raise DataError("no usable video", where=folder)
    return BucketedClips(parts, shape.size)


def _best(file: CaptionedFile, extents: Extents, sizes: Sequence[GridSize]) -> GridSize | None:
    extent = extents.sizes.get(file.name)
    return None if extent is None else best_size(GridSize(*extent), sizes)


def _measured(files: Sequence[CaptionedFile], fps: float, place: ClipCache) -> Extents:
    """The sizes of all files, from the cache or measured now."""
    content = [(file.name, sampled_digest(file.path, error=DataError)) for file in files]
    name = f"extents-{fingerprint([_VERSION, content, fps])}.json"
    kept = place.find(name)
    if kept is not None:
        try:
            return parse(read_json(kept), Extents, where=kept)
        except ConfigError as problem:
            raise DataError(problem.what, where=kept, hint="delete this file, it is made again") from problem
    sizes: dict[str, tuple[int, int, int]] = {}
    damaged: dict[str, str] = {}
    kept = place.writable() / name
    with progress_bar("measuring videos", len(files)) as bar:
        for file in files:
            try:
                extent = measure(Media.file(file.path), fps)
                sizes[file.name] = (extent.frames, extent.height, extent.width)
            except DataError as problem:
                damaged[file.name] = problem.what
            bar(file.name)
    extents = Extents(sizes=sizes, damaged=damaged)
    write_json(kept, extents.model_dump(mode="json"))
    return extents


def _warn(folder: Path, files: Sequence[CaptionedFile], extents: Extents, sizes: Sequence[GridSize]) -> None:
    left_out = [f"{name} ({reason})" for name, reason in extents.damaged.items()]
    whole = [file for file in files if file.name in extents.sizes]
    left_out += [f"{file.name} (too short)" for file in whole if _best(file, extents, sizes) is None]
    if left_out:
        logger.warning("%s: left out %d of %d videos: %s", folder, len(left_out), len(files), shortened(left_out))
