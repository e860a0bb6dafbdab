"""The `data:` key of a configuration file: which clips a run uses, and how they are opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from nas.data.clips.buckets import Bucket, BucketedClips, check_buckets
from nas.data.clips.captioned import GridSize
from nas.data.clips.dataset import ClipDataset, ClipShape
from nas.data.clips.splitting import VALIDATION_FRACTION, DataSplit, split
from nas.data.latents.stored import StoredLatents
from nas.data.moving_shapes.dataset import MovingShapes
from nas.data.tars.dataset import open_tars
from nas.data.videos.bucketed import open_bucketed_videos
from nas.data.videos.folder import VideoDataset
from nas.errors import DataError
from nas.files import StrictModel, UserPath

ValidationFraction = Annotated[float, pydantic.Field(gt=0, lt=1)]
"""The share of the files to hold out."""

Buckets = Annotated[tuple[Bucket, ...], pydantic.Field(min_length=1)]


@dataclass(frozen=True)
class ClipsOpener:
    """Opens clips of any kind, with the settings that all kinds share.

    Args:
        shape: Shape and rate of the clips that the model makes.
        base: Folder that relative paths start from.
        cache: Folder for decoded clips; see `VideoDataset.open`.
        validation_fraction: Share of the files to hold out, between 0 and 1.
        multiple: Heights and widths must be multiples of this.
    """

    shape: ClipShape
    base: Path
    cache: Path | None = None
    validation_fraction: float = VALIDATION_FRACTION
    multiple: int = 1

    def path(self, given: str) -> Path:
        """The path that the configuration gives."""
        return self.base / given

    def cache_folder(self, given: str | None) -> Path | None:
        """The folder for decoded clips: the one that the configuration gives, or the general one."""
        return self.cache if given is None else self.path(given)

    def sizes(self, buckets: tuple[Bucket, ...] | None) -> tuple[GridSize, ...]:
        """The sizes of the clips, the size that the model makes first; raises as `check_buckets`."""
        return (self.shape.size,) if buckets is None else check_buckets(buckets, self.shape, self.multiple)

    def split(self, clips: ClipDataset | BucketedClips, where: Path) -> DataSplit:
        """Split clips; an error names `where` as the place."""
        try:
            return split(clips, self.validation_fraction)
        except DataError as problem:
            raise DataError(problem.what, where=where, hint=problem.hint) from problem


class ClipsConfig(StrictModel, ABC):
    """The abstract base of the kinds of clips that a configuration can name."""

    @abstractmethod
    def open(self, opener: ClipsOpener) -> DataSplit:
        """Open the clips and split them.

        Raises:
            DataError: The clips cannot be opened, or are too few to split.
        """


class VideoFolderConfig(ClipsConfig):
    """A folder of real videos.

    Args:
        path: The folder; if relative, to the configuration file.
        captions: The captions file below it.
        cache: Folder for decoded clips; see `ClipCache` for the default.
        buckets: Sizes that clips may have; only the size that the model makes when left out.
    """

    kind: Literal["videos"]
    path: UserPath
    captions: str = pydantic.Field(default="captions.csv", min_length=1)
    cache: UserPath | None = None
    buckets: Buckets | None = None

    def open(self, opener: ClipsOpener) -> DataSplit:
        """Open the folder, decoding what was not decoded before."""
        folder, cache = opener.path(self.path), opener.cache_folder(self.cache)
        if self.buckets is None:
            return opener.split(VideoDataset.open(folder, opener.shape, captions=self.captions, cache=cache), folder)
        sizes = opener.sizes(self.buckets)
        return opener.split(
            open_bucketed_videos(folder, opener.shape, sizes, captions=self.captions, cache=cache), folder
        )


class WebDatasetConfig(ClipsConfig):
    """Videos and images in local tars, in the convention of WebDataset.

    Args:
        path: A folder of tars, one tar, or a pattern such as `shards/*.tar` or `shards/{000..009}.tar`; if relative, to
            the configuration file.
        window: Tars that are read at the same time. More mix better, fewer read longer runs of one file.
        cache: Folder for the indices of the tars; see `ClipCache` for the default.
        buckets: Sizes that clips may have; only the size that the model makes when left out.
    """

    kind: Literal["webdataset"]
    path: UserPath
    window: pydantic.PositiveInt = 4
    cache: UserPath | None = None
    buckets: Buckets | None = None

    def open(self, opener: ClipsOpener) -> DataSplit:
        """Open the tars, indexing those that were not indexed before."""
        path = opener.path(self.path)
        sizes = opener.sizes(self.buckets)
        clips = open_tars(path, opener.shape, sizes, window=self.window, cache=opener.cache_folder(self.cache))
        return opener.split(clips, path)


class MovingShapesConfig(ClipsConfig):
    """The procedural set.

    Args:
        clips: Number of clips.
        seed: Another seed gives other clips.
    """

    kind: Literal["moving_shapes"]
    clips: int = pydantic.Field(default=4000, ge=2)
    seed: int = 0

    def open(self, opener: ClipsOpener) -> DataSplit:
        """Draw the clips."""
        return split(MovingShapes(opener.shape, self.clips, self.seed), opener.validation_fraction)


class LatentsConfig(ClipsConfig):
    """Clips that `nas data encode` has encoded and split.

    Args:
        path: The folder; if relative, to the configuration file.
    """

    kind: Literal["latents"]
    path: UserPath

    def open(self, opener: ClipsOpener) -> DataSplit:
        """Open the stored latents. A side that was not encoded is empty, and raises when it is used."""
        folder = opener.path(self.path)
        train, validation = StoredLatents.open(folder)
        again, share = "encode the clips again for it, into another folder", train.manifest.validation_fraction
        for what, held, wanted, hint in (
            ("clips", train.manifest.shape, opener.shape, again),
            (
                "a validation_fraction",
                share,
                opener.validation_fraction,
                f"set validation_fraction: {share}, or {again}",
            ),
        ):
            if held != wanted:
                raise DataError(f"was encoded with {what} of {held}, here it is {wanted}", where=folder, hint=hint)
        return DataSplit(train, validation)


DataConfig = Annotated[
    VideoFolderConfig | MovingShapesConfig | WebDatasetConfig | LatentsConfig, pydantic.Field(discriminator="kind")
]
"""The `data:` key of a configuration file. Its key `kind` selects the class."""


class DataFile(StrictModel):
    """A file for `--data`: which clips, and the share to hold out.

    Args:
        data: The clips.
        validation_fraction: Share of the files to hold out.
    """

    data: DataConfig
    validation_fraction: ValidationFraction = VALIDATION_FRACTION


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
        base: Folder that relative paths in `config` start from.
        cache: Folder for decoded clips; see `VideoDataset.open`.
        validation_fraction: Share of the files to hold out, between 0 and 1.
        multiple: Heights and widths of buckets must be multiples of this; see `SearchSpace.pixel_multiple`.

    Raises:
        ConfigError: A bucket is impossible.
        DataError: The clips cannot be opened, or are too few to split.
    """
    opener = ClipsOpener(shape, Path(base), None, validation_fraction, multiple)
    return config.open(opener if cache is None else replace(opener, cache=Path(cache)))
