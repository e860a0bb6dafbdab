"""What `nas run` has made, for benchmarks that judge it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.data import DataSplit
from nas.errors import NasError, StorageError
from nas.files import parse, read_json
from nas.pipeline import load_run
from nas.pipeline.folder import RunFolder
from nas.pipeline.runner import Stage, StageNote, stages_folder
from nas.pipeline.stages import Stages
from nas.space import SearchSpace


def finished_run(file: Path) -> RunFolder:
    """The folder of a run whose stages are all done, with the settings and the clips that there are now.

    Args:
        file: The run's YAML file.

    Raises:
        StorageError: A stage is not done.
        NasError: The file, or what it names, cannot be read.
    """
    config, space = load_run(file)
    root = (file.parent / config.out).resolve()
    stages = Stages(config, space, file.parent, root)
    hint = f"run `nas run {file}` to the end first"
    if not stages_folder(root).is_dir():
        raise StorageError("there is no run here", where=root, hint=hint)
    if (name := first_unfinished(stages.all(), root)) is not None:
        what = f"its stage {name} is not done, or its settings or clips have changed since"
        raise StorageError(what, where=root, hint=hint)
    return stages


def first_unfinished(stages: Sequence[Stage], root: Path) -> str | None:
    """Name of the first stage that `run_stages` would not skip; `None` where all are done."""
    tokens: dict[str, str] = {}
    for stage in stages:
        marker = stages_folder(root) / f"{stage.name}.json"
        if not marker.is_file():
            return stage.name
        note = parse(read_json(marker), StageNote, where=marker)
        if not note.done or note.digest != stage.digest([tokens[name] for name in stage.needs]):
            return stage.name
        if stage.always and stage.run(root / stage.name).token != note.token:
            return stage.name
        tokens[stage.name] = note.token
    return None


def clips_of_run(file: Path, space: SearchSpace) -> DataSplit:
    """The clips of a run, as `nas run` has decoded them."""
    config, _ = load_run(file)
    return RunFolder(config, space, file.parent, (file.parent / config.out).resolve()).clips


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line and exit code 2, as `nas` does, where a user has to do something."""
    try:
        yield
    except NasError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from error
