"""Running stages so that a run can be stopped anywhere and started again.

Each stage owns a folder of the run and a marker. The marker is written when the stage starts, with a digest of its
settings and of what the stages it builds on made, and again when it is done. A done stage with the same digest is
skipped; one that was interrupted goes on from its own files; one whose settings changed, or that builds on a stage
that was made again, starts anew.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nas.errors import ConfigError, StorageError
from nas.files import (
    StrictModel,
    fingerprint,
    parse,
    read_json,
    remove_temporaries,
    storage_errors,
    write_json,
)
from nas.formatting import finite_or_null

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
        """Digest of the settings and of what the stages this one builds on made.

        A setting that was renamed enters under its old name, its alias, so that runs of earlier versions resume.
        """
        plain = [
            item.model_dump(mode="json", by_alias=True) if isinstance(item, BaseModel) else item
            for item in self.settings
        ]
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
        root: The run's folder, held by this process (`nas.files.hold`).
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


def stages_folder(root: Path) -> Path:
    """Where a run notes how far its stages have come; no folder but that of a run has it."""
    return root / "stages"


def replaced_folder(root: Path) -> Path:
    """Where a run keeps results that others have taken the place of."""
    return root / "replaced"


def stage_values(root: Path, name: str) -> Mapping[str, Any]:
    """The values that a finished stage left for later ones; raises `StorageError` where its note is damaged."""
    noted = _read_note(root, name)
    return {} if noted is None else noted.values


class StageNote(StrictModel):
    """What a run notes of a stage.

    Args:
        digest: Of the stage's settings and of what it builds on.
        done: Whether it has ended.
        seconds: How long it took.
        token: Names what it made.
        headline: See `StageResult`, as for the rest.
        files: Likewise.
        values: Likewise.
    """

    digest: str
    done: bool = False
    seconds: float = 0.0
    token: str = ""
    headline: str = ""
    files: tuple[str, ...] = ()
    values: dict[str, Any] = {}


def _run_stage(stage: Stage, root: Path, digest: str) -> tuple[StageReport, str]:
    """Run or skip a stage; returns its report and the token of what it made."""
    folder, known = root / stage.name, _read_note(root, stage.name)
    if known is not None:  # the folder is this run's: what a killed one had under way in it goes, and nothing elsewhere
        remove_temporaries(folder)
    done = known is not None and known.done and known.digest == digest
    if known and done and not stage.always and all((folder / name).exists() for name in known.files):
        result = StageResult(known.headline, known.files, known.values)
        return StageReport(stage.name, known.seconds, True, folder, result), known.token
    _prepare_folder(stage, root, known, digest)
    if not done:
        _write_note(root, stage.name, StageNote(digest=digest))
    started = time.perf_counter()
    result = stage.run(folder)
    seconds = time.perf_counter() - started
    token = result.token or uuid.uuid4().hex
    if known and done and token == known.token:
        return StageReport(stage.name, known.seconds, True, folder, result), token
    made = {"headline": result.headline, "files": result.files, "values": finite_or_null(dict(result.values))}
    _write_note(root, stage.name, StageNote(digest=digest, done=True, seconds=seconds, token=token, **made))
    return StageReport(stage.name, seconds, False, folder, result), token


def _prepare_folder(stage: Stage, root: Path, known: StageNote | None, digest: str) -> None:
    """Make a stage's folder; one that holds the result of other settings is put aside first.

    Raises:
        StorageError: The folder has content that no stage of a run has put there.
    """
    folder = root / stage.name
    if known is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError("is in the way: a run would use this name", where=folder, hint="choose another `out`")
    with storage_errors(folder):
        if known is not None and known.digest != digest and folder.exists():
            _put_aside(stage, root)
        folder.mkdir(parents=True, exist_ok=True)


def _put_aside(stage: Stage, root: Path) -> None:
    """Keep what a stage has made, which may have taken hours, under another name; what is quick to make is removed."""
    folder, why = root / stage.name, "settings or input changed since the last run"
    if stage.always:
        logger.warning("%s: %s, starting anew", stage.name, why)
        shutil.rmtree(folder)
        return
    kept = replaced_folder(root)
    kept.mkdir(exist_ok=True)
    places = (kept / f"{stage.name}-{number}" for number in itertools.count(1))
    place = next(each for each in places if not each.exists())
    folder.rename(place)
    logger.warning("%s: %s, starting anew; what it had made is kept in %s until you remove it", stage.name, why, place)


def _read_note(root: Path, name: str) -> StageNote | None:
    path = _marker(root, name)
    if not path.is_file():
        return None
    try:
        return parse(read_json(path), StageNote, where=path)
    except ConfigError as error:
        hint = f"restore it, or remove it together with the folder {name} to make that stage again"
        raise StorageError(f"is damaged: {error.what}", where=path, hint=hint) from error


def _write_note(root: Path, name: str, note: StageNote) -> None:
    write_json(_marker(root, name), note.model_dump(mode="json"))


def _marker(root: Path, name: str) -> Path:
    return stages_folder(root) / f"{name}.json"
