"""Whether what a command reads is there: seen before its libraries are loaded, which takes seconds.

Each function takes what an option was given, and raises the `NasError` that the library would raise later. None of them
loads a library that builds networks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PROCEDURAL = "moving_shapes"
"""The clips that are made, not read."""

_OF_BUNDLES = ("manifest.json", "report.json", "onnx", "coreml", "coreai")
"""One of these is in every bundle, whole or damaged, of this version or an earlier one."""


def is_data_file(text: str) -> bool:
    """Whether `--data` names a YAML file, rather than the clips themselves."""
    return Path(text).suffix.lower() in {".yaml", ".yml"}


def find_file(path: Path) -> None:
    """Raise `ConfigError` unless there is such a file."""
    from nas.errors import ConfigError

    if path.is_dir():
        raise ConfigError("is a folder, where a file is needed", where=path)
    if not path.exists():
        raise ConfigError("no such file", where=path)


def find_folder(path: Path) -> None:
    """Raise `ConfigError` unless there is such a folder."""
    from nas.errors import ConfigError

    if not path.is_dir():
        raise ConfigError("no such folder", where=path)


def find_bundle(folder: Path) -> None:
    """Raise `CheckpointError` unless the folder is a bundle."""
    from nas.export.manifest import manifest_file

    manifest_file(folder)


def find_run(path: Path) -> None:
    """Raise a `NasError` unless there is a run's file, and what it names is there."""
    from nas.pipeline.inputs import find_inputs

    find_file(path)
    find_inputs(path)


def find_run_or_study(source: str, files: Iterable[Path]) -> None:
    """Raise `StorageError` unless a folder is that of a run, and the file of a study is there.

    Args:
        source: The folder, or where the study is stored.
        files: The file of the study, if it is stored in one.
    """
    from nas.errors import StorageError

    if Path(source).is_dir():
        from nas.pipeline.runner import require_search

        require_search(Path(source))
    elif not all(file.exists() for file in files):
        hint = "name the `out` of a `nas run`, or the file of a study that `nas search` made"
        raise StorageError("no such run or study", where=source, hint=hint)


def find_space(path: Path) -> None:
    """Raise `ConfigError` unless there is a file that may be a search space."""
    from nas.errors import ConfigError

    if path.suffix == ".csv":
        hint = "give a search space (YAML) as SPACE, and the table (CSV) with --table; are the two swapped?"
        raise ConfigError("is not a search space", where=path, hint=hint)
    if (path / "space.yaml").is_file():
        raise ConfigError("is a folder", where=path, hint=f"name the search space in it: {path / 'space.yaml'}")
    find_file(path)


def find_table(path: Path) -> None:
    """Raise `TableError` unless there is such a latency table."""
    from nas.latency.tables.table import table_file

    table_file(path)


def find_model(folder: Path) -> None:
    """Raise `CheckpointError` unless the folder is one of a model, or a bundle."""
    from nas.models.model_folders import unet_file

    if not any((folder / name).exists() for name in _OF_BUNDLES):
        unet_file(folder)


def find_supernet(folder: Path) -> None:
    """Raise `CheckpointError` unless the folder holds a trained supernet."""
    from nas.models.model_folders import supernet_folder

    supernet_folder(folder)


def find_clips(text: str) -> None:
    """Raise `DataError` or `ConfigError` unless the clips that `--data` names are there."""
    from nas.data.videos.captions import require_videos
    from nas.errors import DataError

    if text == PROCEDURAL:
        return
    if is_data_file(text):
        find_file(Path(text))
        require_videos(clips_of_file(text), Path(text).parent)
        return
    meant = difflib.get_close_matches(text, [PROCEDURAL])
    if meant and not Path(text).exists():
        raise DataError("no such folder of videos", where=text, hint=f"the procedural clips are `{PROCEDURAL}`")
    if Path(text).suffix.lower() != ".tar":
        require_videos({"kind": "videos", "path": text}, Path())


def clips_of_file(path: str | Path) -> Mapping[str, Any]:
    """The `data:` key of a YAML file, unchecked; empty if it has none or cannot be read, which the command says."""
    from nas.errors import NasError
    from nas.files import read_text
    from nas.validation import load_plain

    try:
        value = load_plain(read_text(path))
    except (NasError, ValueError):
        return {}
    found = value.get("data") if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
