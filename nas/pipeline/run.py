"""The whole pipeline as one resumable run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from nas.errors import StorageError
from nas.files import hold, refuse_overlap, write_yaml
from nas.latency.profiling.job_state import require_measurable
from nas.pipeline.config import load_run, run_inputs
from nas.pipeline.runner import StageReport, replaced_folder, run_stages, stage_done, stages_folder
from nas.pipeline.stages import Stages

logger = logging.getLogger("nas")

CONFIG = "config.yaml"


def run_pipeline(config_path: str | Path, announce: Callable[[str], None] | None = None) -> list[StageReport]:
    """Run everything that a run file describes. Finished stages are skipped, an interrupted one resumes.

    Args:
        config_path: The run's YAML file.
        announce: Called with one line when a stage ends; logged when left out.

    Returns:
        One report per stage, in order.

    Raises:
        ConfigError: An output of the run is, contains or lies in one of its inputs.
        StorageError: Another run is using the folder, or it contains files that are not of a run.
        RuntimeUnavailableError: The blocks are to be measured, and their runtime cannot measure here.
        NasError: A stage failed; what it had written is kept.
    """
    path = Path(config_path)
    config, space = load_run(path)
    root = _shortest(path.parent / config.out)
    stages = Stages(config, space, path.parent, root).all()
    outputs = [root / CONFIG, stages_folder(root), replaced_folder(root), *(root / stage.name for stage in stages)]
    refuse_overlap(outputs, [path, *run_inputs(config, space, path.parent)])
    if (root / CONFIG).exists() and not stages_folder(root).is_dir():
        raise StorageError("exists, but a run would write to it", where=root / CONFIG, hint="choose another `out`")
    if not stage_done(root, "profile"):  # a run that was profiled elsewhere may go on here
        require_measurable(config.profile.open_runtime())
    with hold(root):
        write_yaml(root / CONFIG, config.model_dump(mode="json"))
        return run_stages(stages, root, announce or logger.info)


def _shortest(path: Path) -> Path:
    """The path relative to the current folder if it lies below it, otherwise the absolute path."""
    absolute = path.resolve()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
