"""Indices of tars: which samples are in one, and where; made once, and again when the tar has changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pydantic import NonNegativeInt, PositiveInt

from nas.data.captioned import GridSize
from nas.data.decoding import Media, measure
from nas.data.tar_members import IMAGE_SUFFIXES, Group, Member, grouped, read_caption, read_members
from nas.errors import ConfigError, DataError
from nas.files import StrictModel, fingerprint, lock, parse, read_json, sampled_digest, write_json
from nas.progress import progress_bar

_VERSION = 1  # Raise it when the same tar gives another index.


class TarSample(StrictModel):
    """A video or an image with its caption.

    Args:
        name: Path of the video or image in the tar.
        caption: What is seen.
        offset: Where its bytes begin.
        size: How many there are.
        frames: Of the video at the rate of the index; 1 of an image.
        height: In pixels, as it is shown.
        width: In pixels, as it is shown.
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
    """What is known of a tar.

    Args:
        version: Of the format.
        size: Of the tar, in bytes.
        mtime_ns: When it was last changed. An index of another size or time is made anew.
        fps: Rate at which frames are counted.
        digest: Of a part of its bytes; says whether two tars are the same, wherever they are.
        samples: What is in it.
        damaged: What was left out, each with the reason; the tar itself under the name `.`.
    """

    version: int = _VERSION
    size: int
    mtime_ns: int
    fps: float
    digest: str
    samples: tuple[TarSample, ...]
    damaged: dict[str, str]


def index_tars(paths: Sequence[Path], fps: float, cache: Path) -> tuple[TarIndex, ...]:
    """The indices of some tars, read where they were made before.

    Every video is decoded once, since only that tells how many frames it has and whether it is whole. A tar's index is
    written when it is finished; several processes and machines that share the cache divide the tars among them.

    Args:
        paths: The tars.
        fps: Rate of the clips.
        cache: Folder of the indices.

    Raises:
        DataError: A tar cannot be opened.
        StorageError: An index cannot be written.
    """
    with progress_bar("indexing tars", len(paths)) as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        found = []
        for path, index in zip(paths, pool.map(partial(_index, fps=fps, cache=cache), paths), strict=True):
            found.append(index)
            bar(path.name)
    return tuple(found)


def _index(path: Path, fps: float, cache: Path) -> TarIndex:
    kept = cache / f"{path.stem[:80]}-{fingerprint([str(path.resolve()), fps])}.json"
    with lock(kept.with_suffix(".lock"), wait=True):
        index = _kept(kept, path, fps)
        if index is None:
            index = make_index(path, fps)
            write_json(kept, index.model_dump(mode="json"))
        kept.with_suffix(".lock").unlink(missing_ok=True)
    return index


def _kept(kept: Path, path: Path, fps: float) -> TarIndex | None:
    """The index made before, unless the tar has changed or the index cannot be used."""
    if not kept.is_file():
        return None
    try:
        index = parse(read_json(kept), TarIndex, where=kept)
    except ConfigError:
        return None  # A cache: made anew, whatever is wrong with it.
    size, mtime_ns = stamp(path)
    same = (index.version, index.size, index.mtime_ns, index.fps) == (_VERSION, size, mtime_ns, fps)
    return index if same else None


def make_index(path: Path, fps: float) -> TarIndex:
    """Read a tar through; a sample that cannot be used is left out with the reason, and so is a damaged tar as a whole.

    Raises:
        DataError: It cannot be opened.
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
                samples.append(_sample(file, path, group, fps))
            except DataError as problem:
                damaged[key] = problem.what
    return TarIndex(size=size, mtime_ns=mtime_ns, fps=fps, digest=digest, samples=tuple(samples), damaged=damaged)


def _sample(file: BinaryIO, path: Path, group: Group, fps: float) -> TarSample:
    member = group.media()
    if group.fault:
        raise DataError(group.fault)
    caption = read_caption(file, group.members)
    if not member.size:
        raise DataError("is empty")
    extent = measure(media_of(file, path, member), fps)
    return TarSample(
        name=member.name, caption=caption, offset=member.offset, size=member.size,
        frames=extent.frames, height=extent.height, width=extent.width,
    )  # fmt: skip


def media_of(file: BinaryIO, path: Path, member: Member | TarSample) -> Media:
    """The bytes of a video or image."""
    file.seek(member.offset)
    is_image = Path(member.name).suffix.lower() in IMAGE_SUFFIXES
    return Media(path / member.name, file.read(member.size), is_image)


def stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change of a file; `DataError` where there is none."""
    try:
        status = path.stat()
    except OSError as problem:
        raise DataError(f"cannot be read: {problem.strerror}", where=path) from problem
    return status.st_size, status.st_mtime_ns
