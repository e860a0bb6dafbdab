"""Opening of clips for a search space."""

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
    """Open and split the clips of a configuration, in the shape that models of the space make; see `open_data`."""
    shape = ClipShape.of(space.file.video)
    return open_data(
        config,
        shape,
        base=base,
        cache=cache,
        validation_fraction=validation_fraction,
        multiple=space.pixel_multiple,
    )
