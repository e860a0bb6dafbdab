"""The `--data` option that training, search and distillation share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._paths import READS_CLIPS

if TYPE_CHECKING:
    from nas.data import DataFile, DataSplit, MovingShapesConfig, VideoFolderConfig, WebDatasetConfig
    from nas.space import SearchSpace

DATA_HELP = (
    "`moving_shapes` (procedural), a folder of videos with a captions.csv, tars ('a-*.tar', 'a-{00..09}.tar'), "
    "or a YAML file with a `data:` key."
)

DataOption = Annotated[str, typer.Option(parser=READS_CLIPS, help=DATA_HELP)]


def open_clips(data: str, space: SearchSpace) -> DataSplit:
    """The clips that `--data` names, in the shape of the search space, split for training and validation."""
    from nas.training import open_clips as open_for
    from nas.training.engine.processes import processes

    file, base = data_file(data)
    with processes().main_process_first():  # one process decodes, the others read its cache
        return open_for(file.data, space, base=base, validation_fraction=file.validation_fraction)


def data_file(data: str) -> tuple[DataFile, Path]:
    """The settings that `--data` gives, and the folder that relative paths in them start from."""
    from nas.data import DataFile
    from nas.files import load_yaml

    if Path(data).suffix.lower() in {".yaml", ".yml"}:
        return load_yaml(data, DataFile), Path(data).parent
    return DataFile(data=_config(data)), Path()


def _config(data: str) -> MovingShapesConfig | VideoFolderConfig | WebDatasetConfig:
    """The clips that a text names, if it is not a YAML file."""
    from nas.data import MovingShapesConfig, VideoFolderConfig, WebDatasetConfig
    from nas.files import parse

    if data == "moving_shapes":
        return MovingShapesConfig(kind="moving_shapes")
    if Path(data).suffix.lower() == ".tar" and not os.path.isdir(data):  # noqa: PTH112 - it does not mind names that are too long
        return parse({"kind": "webdataset", "path": data}, WebDatasetConfig, where="--data")
    return parse({"kind": "videos", "path": data}, VideoFolderConfig, where="--data")
