"""Indices of tars: the samples of each tar and their places. An index is made again when the tar has changed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pydantic import NonNegativeInt, PositiveInt

from nas.data.clips.captioned import GridSize
from nas.data.storage.cache import ClipCache
from nas.data.tars.members import Group, Member, grouped, read_caption, read_members
from nas.data.videos.captions import IMAGE_SUFFIXES
from nas.data.videos.decoding import measure
from nas.data.videos.media import Media
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, fingerprint, lock, parse, read_json, sampled_digest, write_json
from nas.processors import processors
from nas.progress import progress_bar

_VERSION = 2  # Raise it when the same tar gives another index.


class TarSample(StrictModel):
    """A video or an image with its caption.

    Args:
        name: Path of the video or image in the tar.
        caption: Its caption.
        offset: Position of its first byte.
        size: Number of bytes.
        frames: Frames of the video at the rate of the index; 1 for an image.
        height: Displayed height in pixels.
        width: Displayed width in pixels.
    """

    name: str
    caption: str
    offset: NonNegativeInt
    size: PositiveInt
    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt

    @property
    def extent(self) -> GridSize:
        """Frames, height and width."""
        return GridSize(self.frames, self.height, self.width)


class TarIndex(StrictModel):
    """The index of one tar.

    Args:
        version: Version of the format.
        size: Size of the tar in bytes.
        mtime_ns: When the tar was last changed. If size or time differ, the index is made again.
        fps: Rate at which frames are counted.
        digest: Digest of a part of its bytes; equal for equal tars in different places.
        samples: The samples.
        damaged: What was left out, each with the reason; the tar itself has the name `.`.
    """

    version: int = _VERSION
    size: int
    mtime_ns: int
    fps: float
    digest: str
    samples: tuple[TarSample, ...]
    damaged: dict[str, str]


def index_tars(paths: Sequence[Path], fps: float, cache: ClipCache) -> tuple[TarIndex, ...]:
    """The indices of some tars, from the cache if possible.

    Every video is decoded once, because nothing else shows how many frames it has and whether it is whole. The index of
    a tar is written when it is finished. Processes and machines that share the cache divide the tars among them.

    Args:
        paths: The tars.
        fps: Rate of the clips.
        cache: The cache for indices.

    Raises:
        DataError: A tar cannot be opened.
        StorageError: An index cannot be written.
    """
    known = {path: index for path in paths if (index := _known(path, fps, cache)) is not None}
    missing = [path for path in paths if path not in known]
    if missing:
        workers = min(processors(), len(missing))
        make = partial(_index, fps=fps, cache=cache.writable(), threads=max(processors() // workers, 1))
        with progress_bar("indexing tars", len(paths), len(known)) as bar, ThreadPoolExecutor(workers) as pool:
            for path, index in zip(missing, pool.map(make, missing), strict=True):
                known[path] = index
                bar(path.name)
    return tuple(known[path] for path in paths)


def _known(path: Path, fps: float, cache: ClipCache) -> TarIndex | None:
    """An index that exists and is still valid; looking for it writes nothing."""
    kept = cache.find(_name(path, fps))
    return None if kept is None else _kept(kept, path, fps)


def _name(path: Path, fps: float) -> str:
    """The file name of an index, which stays short."""
    stem = path.stem.encode(errors="replace")[:80].decode(errors="ignore")
    return f"{stem}-{fingerprint([str(path.resolve()), fps])}.json"


def _index(path: Path, fps: float, cache: Path, threads: int) -> TarIndex:
    kept = cache / _name(path, fps)
    with lock(kept.with_suffix(".lock"), wait=True):
        index = _kept(kept, path, fps)
        if index is None:
            index = make_index(path, fps, threads)
            write_json(kept, index.model_dump(mode="json"))
        kept.with_suffix(".lock").unlink(missing_ok=True)
    return index


def _kept(kept: Path, path: Path, fps: float) -> TarIndex | None:
    """The existing index, unless the tar has changed or the index cannot be used."""
    if not kept.is_file():
        return None
    try:
        index = parse(read_json(kept), TarIndex, where=kept)
    except ConfigError:
        return None  # It is a cache: an unreadable index is made again.
    size, mtime_ns = stamp(path)
    same = (index.version, index.size, index.mtime_ns, index.fps) == (_VERSION, size, mtime_ns, fps)
    return index if same else None


def make_index(path: Path, fps: float, threads: int = 1) -> TarIndex:
    """Index a tar. Samples that cannot be used are left out with the reason, and so is a damaged tar as a whole.

    Args:
        path: The tar.
        fps: Rate at which frames are counted.
        threads: Threads of the decoder.

    Raises:
        DataError: The tar cannot be opened.
    """
    size, mtime_ns = stamp(path)
    samples: list[TarSample] = []
    digest = sampled_digest(path, error=DataError)
    with path.open("rb") as file:
        try:
            groups, damaged = grouped(read_members(file))
        except DataError as problem:
            groups, damaged = {}, {".": problem.what}
        for key, group in groups.items():
            try:
                samples.append(_sample(file, path, group, fps, threads))
            except DataError as problem:
                damaged[key] = problem.what
    return TarIndex(size=size, mtime_ns=mtime_ns, fps=fps, digest=digest, samples=tuple(samples), damaged=damaged)


def _sample(file: BinaryIO, path: Path, group: Group, fps: float, threads: int) -> TarSample:
    member = group.media()
    if group.fault:
        raise DataError(group.fault)
    caption = read_caption(file, group.members)
    if not member.size:
        raise DataError("is empty")
    extent = measure(media_of(path, member), fps, threads)
    return TarSample(
        name=member.name, caption=caption, offset=member.offset, size=member.size,
        frames=extent.frames, height=extent.height, width=extent.width,
    )  # fmt: skip


def media_of(path: Path, member: Member | TarSample) -> Media:
    """A video or image in a tar."""
    is_image = Path(member.name).suffix.lower() in IMAGE_SUFFIXES
    return Media(path / member.name, path, member.offset, member.size, is_image)


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change of a file; `DataError` if there is no file."""
    try:
        status = path.stat()
    except OSError as problem:
        raise DataError(f"cannot be read: {problem.strerror}", where=path) from problem
    return status.st_size, status.st_mtime_ns
