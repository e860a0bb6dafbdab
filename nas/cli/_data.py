"""The `--data` option that training, search and distillation share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nas.data import DataSplit
    from nas.space import SearchSpace

DATA_HELP = "`moving_shapes` (procedural), or a folder of videos with a captions.csv."

DataOption = Annotated[str, typer.Option(help=DATA_HELP)]


def open_clips(data: str, space: SearchSpace) -> DataSplit:
    """The clips that `--data` names, in the shape of the search space, split for training and validation."""
    from nas.data import ClipShape, MovingShapesConfig, VideoFolderConfig, open_data
    from nas.training.processes import processes

    video = space.file.video
    shape = ClipShape(video.frames, video.height, video.width, video.fps)
    if data == "moving_shapes":
        return open_data(MovingShapesConfig(kind="moving_shapes"), shape, base=Path())
    with processes().main_process_first():  # one process decodes, the others read what it made
        return open_data(VideoFolderConfig(kind="videos", path=data), shape, base=Path())
