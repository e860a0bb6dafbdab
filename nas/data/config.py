"""Which clips a run uses, as its configuration file says, and their split for training and validation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from nas.data.buckets import Bucket, BucketedClips, check_buckets
from nas.data.captioned import CaptionedClips, GridSize
from nas.data.clips import ClipDataset, ClipShape, source_file
from nas.data.latents.stored import StoredLatents
from nas.data.moving_shapes.dataset import MovingShapes
from nas.data.tars.dataset import open_tars
from nas.data.videos.bucketed import open_bucketed_videos
from nas.data.videos.folder import VideoDataset
from nas.errors import DataError
from nas.files import StrictModel, UserPath

VALIDATION_FRACTION = 0.1
"""Share of the files that is held out where nothing else is said."""

HeldOutShare = Annotated[float, pydantic.Field(gt=0, lt=1)]
"""A share of the files to hold out."""

Buckets = Annotated[tuple[Bucket, ...], pydantic.Field(min_length=1)]


@dataclass(frozen=True)
class DataSplit:
    """Clips to train on, and clips held out."""

    train: CaptionedClips
    validation: CaptionedClips


@dataclass(frozen=True)
class Opening:
    """How clips are opened, whatever they are.

    Args:
        shape: Shape and rate of the clips that the model makes.
        base: The folder that a relative path starts from.
        cache: Where decoded clips are kept; see `VideoDataset.open`.
        validation_fraction: Share of the files to hold out, between 0 and 1.
        multiple: What heights and widths must be multiples of.
    """

    shape: ClipShape
    base: Path
    cache: Path | None = None
    validation_fraction: float = VALIDATION_FRACTION
    multiple: int = 1

    def path(self, given: str) -> Path:
        """A path of the configuration."""
        return self.base / given

    def kept_in(self, given: str | None) -> Path | None:
        """Where decoded clips are kept, if the configuration says so."""
        return self.cache if given is None else self.path(given)

    def sizes(self, buckets: tuple[Bucket, ...] | None) -> tuple[GridSize, ...]:
        """Sizes of the clips, that of the model first; raises as `check_buckets`."""
        return (self.shape.size,) if buckets is None else check_buckets(buckets, self.shape, self.multiple)

    def split(self, clips: ClipDataset | BucketedClips, where: Path) -> DataSplit:
        """Split clips; what is wrong with them is wrong with `where`."""
        try:
            return split(clips, self.validation_fraction)
        except DataError as problem:
            raise DataError(problem.what, where=where, hint=problem.hint) from problem


class ClipsConfig(StrictModel, ABC):
    """One kind of clips that a configuration can name."""

    @abstractmethod
    def open(self, how: Opening) -> DataSplit:
        """Open and split them.

        Raises:
            DataError: They cannot be opened, or are too few to split.
        """


class VideoFolderConfig(ClipsConfig):
    """A folder of real videos.

    Args:
        path: The folder; if relative, to the configuration file.
        captions: The captions file below it.
        cache: Folder for decoded clips; see `ClipCache` for where they are kept when left out.
        buckets: Sizes that clips may have; that of the model alone when left out.
    """

    kind: Literal["videos"]
    path: UserPath
    captions: str = pydantic.Field(default="captions.csv", min_length=1)
    cache: UserPath | None = None
    buckets: Buckets | None = None

    def open(self, how: Opening) -> DataSplit:
        """See `ClipsConfig.open`."""
        folder, cache = how.path(self.path), how.kept_in(self.cache)
        if self.buckets is None:
            return how.split(VideoDataset.open(folder, how.shape, captions=self.captions, cache=cache), folder)
        sizes = how.sizes(self.buckets)
        return how.split(open_bucketed_videos(folder, how.shape, sizes, captions=self.captions, cache=cache), folder)


class WebDatasetConfig(ClipsConfig):
    """Videos and images in local tars, in the convention of WebDataset.

    Args:
        path: A folder of tars, one tar, or a pattern such as `shards/*.tar` or `shards/{000..009}.tar`; if relative, to
            the configuration file.
        window: Tars that are read at the same time: more mix better, fewer read in longer stretches.
        cache: Folder for what is found out of the tars; see `ClipCache` for where it is kept when left out.
        buckets: Sizes that clips may have; that of the model alone when left out.
    """

    kind: Literal["webdataset"]
    path: UserPath
    window: pydantic.PositiveInt = 4
    cache: UserPath | None = None
    buckets: Buckets | None = None

    def open(self, how: Opening) -> DataSplit:
        """See `ClipsConfig.open`."""
        path = how.path(self.path)
        sizes = how.sizes(self.buckets)
        clips = open_tars(path, how.shape, sizes, window=self.window, cache=how.kept_in(self.cache))
        return how.split(clips, path)


class MovingShapesConfig(ClipsConfig):
    """The procedural set.

    Args:
        clips: How many clips.
        seed: Another seed gives other clips.
    """

    kind: Literal["moving_shapes"]
    clips: int = pydantic.Field(default=4000, ge=2)
    seed: int = 0

    def open(self, how: Opening) -> DataSplit:
        """See `ClipsConfig.open`."""
        return split(MovingShapes(how.shape, self.clips, self.seed), how.validation_fraction)


class LatentsConfig(ClipsConfig):
    """Clips that `nas data encode` has encoded and split.

    Args:
        path: The folder; if relative, to the configuration file.
    """

    kind: Literal["latents"]
    path: UserPath

    def open(self, how: Opening) -> DataSplit:
        """See `ClipsConfig.open`; a side that was not encoded is empty, and says so when it is used."""
        folder = how.path(self.path)
        train, validation = StoredLatents.open(folder)
        again, share = "encode the clips again for it, into another folder", train.plan.validation_fraction
        for what, held, wanted, hint in (
            ("clips", train.plan.shape, how.shape, again),
            ("a validation_fraction", share, how.validation_fraction, f"set validation_fraction: {share}, or {again}"),
        ):
            if held != wanted:
                raise DataError(f"was encoded with {what} of {held}, here it is {wanted}", where=folder, hint=hint)
        return DataSplit(train, validation)


DataConfig = Annotated[
    VideoFolderConfig | MovingShapesConfig | WebDatasetConfig | LatentsConfig, pydantic.Field(discriminator="kind")
]
"""The `data:` key of a configuration file; `kind` says which of them it is."""


class DataFile(StrictModel):
    """A file that says which clips, for `--data`.

    Args:
        data: The clips.
        validation_fraction: Share of the files to hold out.
    """

    data: DataConfig
    validation_fraction: HeldOutShare = VALIDATION_FRACTION


def open_data(
    config: ClipsConfig,
    shape: ClipShape,
    *,
    base: str | Path,
    cache: str | Path | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    multiple: int = 1,
) -> DataSplit:
    """Open the configured clips and split them.

    Args:
        config: Which clips.
        shape: Shape and rate of the clips.
        base: The folder that a relative path in `config` starts from.
        cache: Where decoded clips are kept; see `VideoDataset.open`.
        validation_fraction: Share of the files to hold out, between 0 and 1.
        multiple: What heights and widths of buckets must be multiples of; see `SearchSpace.pixel_multiple`.

    Raises:
        ConfigError: A bucket is impossible.
        DataError: The clips cannot be opened, or are too few to split.
    """
    how = Opening(shape, Path(base), None, validation_fraction, multiple)
    return config.open(how if cache is None else replace(how, cache=Path(cache)))


def split(dataset: ClipDataset | BucketedClips, validation_fraction: float = VALIDATION_FRACTION) -> DataSplit:
    """Hold out a share of the files of a set, of each size of clips alike.

    All clips of one file fall on the same side. Files are ranked by a digest of their name, so the split is
    the same on every machine and does not depend on their order. Neither side is ever empty.

    Args:
        dataset: The clips.
        validation_fraction: Share of the files to hold out, between 0 and 1.

    Raises:
        DataError: The clips, or those of the model's own size, come from fewer than two files, or the fraction is not
            between 0 and 1.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"validation_fraction must be between 0 and 1, got {validation_fraction}")
    groups = [{source_file(name) for name in names} for names in dataset.names_by_size]
    if len(groups[0]) < 2:
        hint = "add videos, or cut the one there is into several files"
        what = "usable video" if len(groups) == 1 else "usable video of the model's own size"
        raise DataError(f"{len(groups[0])} {what}, training and validation need 2 or more", hint=hint)
    held_out = set().union(*(_held_out(files, validation_fraction) for files in groups))
    sides: tuple[list[int], list[int]] = ([], [])
    for index, name in enumerate(dataset.names):
        sides[source_file(name) in held_out].append(index)
    return DataSplit(dataset.subset(sides[0]), dataset.subset(sides[1]))


def _held_out(files: set[str], fraction: float) -> set[str]:
    """At least one of several files, and not all."""
    count = min(max(round(fraction * len(files)), 1), len(files) - 1)
    return set(sorted(files, key=_rank)[:count])


def _rank(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
