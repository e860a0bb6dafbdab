"""The `--data` option that training, search and distillation share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._paths import READS_CLIPS

if TYPE_CHECKING:
    from nas.data import ClipsConfig, DataSplit
    from nas.space import SearchSpace

DATA_HELP = (
    "`moving_shapes` (procedural), a folder of videos with a captions.csv, tars ('a-*.tar', 'a-{00..09}.tar'), "
    "or a YAML file with a `data:` key."
)

DataOption = Annotated[str, typer.Option(parser=READS_CLIPS, help=DATA_HELP)]


def open_clips(data: str, space: SearchSpace) -> DataSplit:
    """The clips that `--data` names, in the shape of the search space, split for training and validation."""
    from nas.training import open_clips as open_for
    from nas.training.processes import processes

    config, base = data_config(data)
    with processes().main_process_first():  # one process decodes, the others read what it made
        return open_for(config, space, base=base)


def data_config(data: str) -> tuple[ClipsConfig, Path]:
    """What `--data` says, and the folder that a relative path in it starts from."""
    from nas.data import DataFile, MovingShapesConfig, VideoFolderConfig, WebDatasetConfig
    from nas.files import load_yaml, parse

    if data == "moving_shapes":
        return MovingShapesConfig(kind="moving_shapes"), Path()
    suffix = Path(data).suffix.lower()
    if suffix in {".yaml", ".yml"}:
        return load_yaml(data, DataFile).data, Path(data).parent
    if suffix == ".tar" and not os.path.isdir(data):  # noqa: PTH112 - it does not mind names that are too long
        return parse({"kind": "webdataset", "path": data}, WebDatasetConfig, where="--data"), Path()
    return parse({"kind": "videos", "path": data}, VideoFolderConfig, where="--data"), Path()
