"""Whether what a run's file names is there: seen before the libraries are loaded that check the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.data.videos.captions import require_videos
from nas.errors import ConfigError
from nas.files import read_text
from nas.latency.tables.table import table_file
from nas.models.model_folders import unet_file
from nas.validation import load_plain, other_kind


def find_inputs(path: Path) -> None:
    """Look for the search space, the videos, the model of images and the latency tables that a run's file names.

    What the file says of anything else is checked later, by `nas.pipeline.load_run`.

    Raises:
        ConfigError: The file is not YAML, is another kind of file, or its search space is missing.
        DataError: The videos are missing.
        CheckpointError: The model of images is missing.
        TableError: A latency table is missing.
    """
    try:
        value = load_plain(read_text(path))
    except ValueError as problem:
        raise ConfigError(f"not YAML: {problem}", where=path) from problem
    if not isinstance(value, Mapping):
        return
    other = other_kind(value, {"space", "out"})
    if other is not None:
        hint = "`nas run` takes a file such as examples/quickstart.yaml, which names the search space in `space`"
        raise ConfigError(f"is {other}, not the file of a run", where=path, hint=hint)
    base = path.parent
    space = value.get("space")
    if isinstance(space, str) and space and not (base / Path(space).expanduser()).exists():
        raise ConfigError("no such file", where=base / space, hint=f"`space` in {path} names it")
    require_videos(_mapping(value, "data"), base)
    model = _mapping(value, "backbone").get("model")
    if isinstance(model, str) and model:
        unet_file(base / Path(model).expanduser())
    tables = _mapping(value, "search").get("tables")
    for table in tables if isinstance(tables, list) else ():
        if isinstance(table, str) and table:
            table_file(base / Path(table).expanduser())


def _mapping(value: Mapping[Any, Any], key: str) -> Mapping[Any, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
