"""The settings that `--data` gives, whether it names a YAML file or the clips themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli._finding import PROCEDURAL, is_data_file

if TYPE_CHECKING:
    from nas.data import DataFile, MovingShapesConfig, VideoFolderConfig, WebDatasetConfig


def data_file(data: str) -> tuple[DataFile, Path]:
    """The settings that `--data` gives, and the folder that relative paths in them start from."""
    from nas.data import DataFile
    from nas.files import load_yaml

    if is_data_file(data):
        return load_yaml(data, DataFile), Path(data).parent
    return DataFile(data=_config(data)), Path()


def _config(data: str) -> MovingShapesConfig | VideoFolderConfig | WebDatasetConfig:
    """The clips that a text names, if it is not a YAML file."""
    from nas.data import MovingShapesConfig, VideoFolderConfig, WebDatasetConfig
    from nas.files import parse

    if data == PROCEDURAL:
        return MovingShapesConfig(kind="moving_shapes")
    if Path(data).suffix.lower() == ".tar" and not os.path.isdir(data):  # noqa: PTH112 - it does not mind names that are too long
        return parse({"kind": "webdataset", "path": data}, WebDatasetConfig, where="--data")
    return parse({"kind": "videos", "path": data}, VideoFolderConfig, where="--data")
