"""The clips that a configuration names, in the shape that the models of a search space make."""

from __future__ import annotations

from pathlib import Path

from nas.data import VALIDATION_FRACTION, ClipsConfig, ClipShape, DataSplit, open_data
from nas.space import SearchSpace


def open_clips(
    config: ClipsConfig,
    space: SearchSpace,
    *,
    base: str | Path,
    cache: str | Path | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
) -> DataSplit:
    """Open clips and split them, for a search space; see `nas.data.open_data`."""
    shape = ClipShape.of(space.file.video)
    return open_data(
        config,
        shape,
        base=base,
        cache=cache,
        validation_fraction=validation_fraction,
        multiple=space.pixel_multiple,
    )
