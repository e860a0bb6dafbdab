"""The whole job as one resumable run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from nas.files import write_yaml
from nas.pipeline.config import RunConfig, load_run
from nas.pipeline.runner import Stage, StageReport, StageResult, run_stages
from nas.pipeline.stages import Stages

logger = logging.getLogger("nas")

__all__ = ["RunConfig", "Stage", "StageReport", "StageResult", "load_run", "run_pipeline", "run_stages"]


def run_pipeline(config_path: str | Path, announce: Callable[[str], None] | None = None) -> list[StageReport]:
    """Run everything that a run file describes; finished stages are skipped, an interrupted one goes on.

    Args:
        config_path: The run's YAML file.
        announce: Called with one line when a stage ends; logged when left out.

    Returns:
        One report per stage, in order.

    Raises:
        NasError: A stage cannot do its work; what it had done is kept.
    """
    path = Path(config_path)
    config, space = load_run(path)
    root = _shortest(path.parent / config.out)
    write_yaml(root / "config.yaml", config.model_dump(mode="json"))
    return run_stages(Stages(config, space, path.parent, root).all(), root, announce or logger.info)


def _shortest(path: Path) -> Path:
    """The path from the current folder where it lies below it, the absolute one elsewhere."""
    absolute = path.resolve()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
