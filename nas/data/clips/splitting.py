"""The split of a set of clips: those to train on, and those held out for validation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from nas.data.clips.buckets import BucketedClips
from nas.data.clips.captioned import CaptionedClips
from nas.data.clips.dataset import ClipDataset, source_file
from nas.errors import DataError

VALIDATION_FRACTION = 0.1
"""The default share of the files that is held out."""


@dataclass(frozen=True)
class DataSplit:
    """Clips to train on, and clips held out."""

    train: CaptionedClips
    validation: CaptionedClips


def split(dataset: ClipDataset | BucketedClips, validation_fraction: float = VALIDATION_FRACTION) -> DataSplit:
    """Hold out a share of the files of a set, the same share for each size of clips.

    All clips of one file fall on the same side. Files are ranked by a digest of their name, so the split is the same on
    every machine and does not depend on their order. Neither side is ever empty.

    Args:
        dataset: The clips.
        validation_fraction: Share of the files to hold out, between 0 and 1.

    Raises:
        DataError: The clips, or those of the size that the model makes, come from fewer than two files; or the fraction
            is not between 0 and 1.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"validation_fraction must be between 0 and 1, got {validation_fraction}")
    groups = [{source_file(name) for name in names} for names in dataset.names_by_size]
    if len(groups[0]) < 2:
        hint = "add videos, or cut the video into several files"
        what = "usable video" if len(groups) == 1 else "usable video of the model's own size"
        raise DataError(f"{len(groups[0])} {what}, training and validation need 2 or more", hint=hint)
    held_out = set().union(*(_held_out(files, validation_fraction) for files in groups))
    sides: tuple[list[int], list[int]] = ([], [])
    for index, name in enumerate(dataset.names):
        sides[source_file(name) in held_out].append(index)
    return DataSplit(dataset.subset(sides[0]), dataset.subset(sides[1]))


def _held_out(files: set[str], fraction: float) -> set[str]:
    """The files to hold out: at least one, and never all."""
    count = min(max(round(fraction * len(files)), 1), len(files) - 1)
    return set(sorted(files, key=_rank)[:count])


def _rank(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
