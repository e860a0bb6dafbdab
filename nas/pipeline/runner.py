"""Running stages so that a run can be stopped anywhere and started again.

Each stage owns a folder of the run and a marker. The marker is written when the stage starts, with a digest of its
settings and of what the stages it builds on made, and again when it is done. A done stage with the same digest is
skipped; one that was interrupted goes on from its own files; one whose settings changed, or that builds on a stage
that was made again, starts anew.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nas.errors import StorageError
from nas.files import fingerprint, hold, read_json, remove_temporaries, storage_errors, write_json

logger = logging.getLogger("nas")


@dataclass(frozen=True)
class StageResult:
    """What a stage made.

    Args:
        headline: One line for the final table.
        files: The files a user will want, relative to the stage's folder; a stage without one of them is redone.
        values: Numbers that later stages read, as plain data.
        token: Names what was made; stages that build on it are made again when it changes. When left out, every
            execution gets its own.
    """

    headline: str
    files: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    token: str | None = None


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Args:
        name: Name of the stage and of its folder.
        settings: What decides its result: typed settings and plain data.
        needs: Names of the stages it builds on.
        run: Does the work in the given folder. It resumes from whatever an interrupted attempt left there.
        always: Run it every time, because only running it tells whether its input changed; it must be quick then.
    """

    name: str
    settings: Sequence[Any]
    needs: tuple[str, ...]
    run: Callable[[Path], StageResult]
    always: bool = False

    def digest(self, needed: Sequence[str]) -> str:
        """Digest of the settings and of what the stages this one builds on made."""
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
        root: The run's folder, held by this process; see `only_run`.
        announce: Called with one line per stage.
    """
    tokens: dict[str, str] = {}
    reports = []
    for number, stage in enumerate(stages, 1):
        digest = stage.digest([tokens[name] for name in stage.needs])
        report, tokens[stage.name] = _run_stage(stage, root, digest)
        state = "already done" if report.skipped else f"{report.seconds:.0f} s"
        announce(f"[{number}/{len(stages)}] {stage.name}: {report.result.headline} ({state})")
        reports.append(report)
    return reports


@contextlib.contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Keep a second run out of a folder.

    Raises:
        StorageError: Another run is using the folder, or it cannot be written.
    """
    with hold(root):
        yield


def stages_folder(root: Path) -> Path:
    """Where a run notes how far its stages have come; no folder but that of a run has it."""
    return root / "stages"


def stage_values(root: Path, name: str) -> Mapping[str, Any]:
    """The values that a finished stage left for later ones."""
    values: Mapping[str, Any] = read_json(_marker(root, name))["values"]
    return values


def _run_stage(stage: Stage, root: Path, digest: str) -> tuple[StageReport, str]:
    """Run or skip a stage; returns its report and the token of what it made."""
    folder, marker = root / stage.name, _marker(root, stage.name)
    known = read_json(marker) if marker.is_file() else {}
    if known:  # the folder is this run's: what a killed one had under way in it goes, and nothing elsewhere
        remove_temporaries(folder)
    done = known.get("digest") == digest and known.get("done", False)
    if done and not stage.always and all((folder / name).exists() for name in known["files"]):
        result = StageResult(known["headline"], tuple(known["files"]), known["values"])
        return StageReport(stage.name, known["seconds"], True, folder, result), known["token"]
    _prepare_folder(folder, known, digest)
    if not done:
        write_json(marker, {"digest": digest, "done": False})
    started = time.perf_counter()
    result = stage.run(folder)
    seconds = time.perf_counter() - started
    token = result.token or uuid.uuid4().hex
    if done and token == known["token"]:
        return StageReport(stage.name, known["seconds"], True, folder, result), token
    content = {"headline": result.headline, "files": list(result.files), "values": dict(result.values)}
    write_json(marker, {"digest": digest, "done": True, "seconds": seconds, "token": token, **content})
    return StageReport(stage.name, seconds, False, folder, result), token


def _prepare_folder(folder: Path, known: Mapping[str, Any], digest: str) -> None:
    """Make a stage's folder, or clear it where it holds the result of other settings.

    Raises:
        StorageError: The folder has content that no stage of a run has put there.
    """
    if not known and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError("is in the way: a run would use this name", where=folder, hint="choose another `out`")
    if known and known.get("digest") != digest and folder.exists():
        logger.warning("%s: settings or input changed since the last run, starting anew", folder.name)
        shutil.rmtree(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _marker(root: Path, name: str) -> Path:
    return stages_folder(root) / f"{name}.json"
