"""Running stages so that a run can be stopped anywhere and started again.

Each stage owns a folder of the run and a marker. The marker is written when the stage starts, with a digest of its
settings and of the stages it builds on, and again when it is done, with what it made. A done stage with the same
digest is skipped; one that was interrupted goes on from its own files; one whose settings changed starts anew.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nas.files import fingerprint, read_json, storage_errors, write_json

logger = logging.getLogger("nas")


@dataclass(frozen=True)
class StageResult:
    """What a stage made.

    Args:
        headline: One line for the final table.
        files: The files a user will want, relative to the stage's folder; a stage without one of them is redone.
        values: Numbers that later stages read, as plain data.
    """

    headline: str
    files: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Args:
        name: Name of the stage and of its folder.
        settings: What decides its result: typed settings and plain data.
        needs: Names of the stages it builds on.
        run: Does the work in the given folder. It resumes from whatever an interrupted attempt left there.
    """

    name: str
    settings: Sequence[Any]
    needs: tuple[str, ...]
    run: Callable[[Path], StageResult]

    def digest(self, needed: Sequence[str]) -> str:
        """Digest of the settings and of the stages this one builds on."""
        plain = [item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in self.settings]
        return fingerprint([self.name, plain, list(needed)])


@dataclass(frozen=True)
class StageReport:
    """How a stage ended.

    Args:
        name: Name of the stage.
        seconds: Time it took when it ran.
        skipped: Whether an earlier run had already finished it.
        folder: Its folder.
        result: What it made.
    """

    name: str
    seconds: float
    skipped: bool
    folder: Path
    result: StageResult


def run_stages(stages: Sequence[Stage], root: Path, announce: Callable[[str], None]) -> list[StageReport]:
    """Run stages in order below `root`, skipping those that are done.

    Args:
        stages: In an order in which each comes after what it needs.
        root: The run's folder.
        announce: Called with one line per stage.
    """
    digests: dict[str, str] = {}
    reports = []
    for number, stage in enumerate(stages, 1):
        digests[stage.name] = stage.digest([digests[name] for name in stage.needs])
        report = _run_stage(stage, root, digests[stage.name])
        state = "already done" if report.skipped else f"{report.seconds:.0f} s"
        announce(f"[{number}/{len(stages)}] {stage.name}: {report.result.headline} ({state})")
        reports.append(report)
    return reports


def stage_values(root: Path, name: str) -> Mapping[str, Any]:
    """The values that a finished stage left for later ones."""
    values: Mapping[str, Any] = read_json(_marker(root, name))["values"]
    return values


def _run_stage(stage: Stage, root: Path, digest: str) -> StageReport:
    folder, marker = root / stage.name, _marker(root, stage.name)
    known = read_json(marker) if marker.is_file() else {}
    same = known.get("digest") == digest
    if same and known.get("done") and all((folder / name).exists() for name in known["files"]):
        result = StageResult(known["headline"], tuple(known["files"]), known["values"])
        return StageReport(stage.name, known["seconds"], True, folder, result)
    if known and not same and folder.exists():
        logger.warning("%s: settings changed since the last run, starting anew", stage.name)
        shutil.rmtree(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(marker, {"digest": digest, "done": False})
    started = time.perf_counter()
    result = stage.run(folder)
    seconds = time.perf_counter() - started
    content = {"headline": result.headline, "files": list(result.files), "values": dict(result.values)}
    write_json(marker, {"digest": digest, "done": True, "seconds": seconds, **content})
    return StageReport(stage.name, seconds, False, folder, result)


def _marker(root: Path, name: str) -> Path:
    return root / "stages" / f"{name}.json"
