"""Running stages so that a run can be stopped anywhere and started again.

Each stage has a folder and a marker file in the run. The marker is written when the stage starts, and again when it is
done. It holds a digest of the stage's settings and of the results that the stage needs, and one of what the stage reads
from outside the run. A stage that is done with the same digests is skipped. A stage that was interrupted resumes from
its own files. A stage starts over if its settings or these files changed, or if a stage that it needs was run again.
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
    FOR_DIGEST,
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
    """The result of a stage.

    Args:
        headline: One line for the final table.
        files: Files for the user, relative to the stage's folder. If one is missing, the stage runs again.
        values: Numbers that later stages read, as plain data.
        token: Identifies the result. Stages that need it run again when it changes. Each execution gets a new one when
            left out.
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
        settings: Everything that decides its result: typed settings and plain data.
        needs: Names of the stages whose results it reads.
        run: Does the work in the given folder. It resumes from the files of an interrupted attempt.
        always: Run it every time, because only a run shows whether its input changed. Such a stage must be quick.
        contents: Digest of the contents of files that it reads from outside the run, whose paths are settings; empty
            if there are none, or if they are not there any more.
    """

    name: str
    settings: Sequence[Any]
    needs: tuple[str, ...]
    run: Callable[[Path], StageResult]
    always: bool = False
    contents: str = ""

    def digest(self, needed: Sequence[str]) -> str:
        """Digest of the settings, and of the tokens of the stages that this one needs.

        A setting that was renamed enters under its old name, its alias, so that runs of earlier versions resume.
        """
        plain = [
            item.model_dump(mode="json", by_alias=True, context=FOR_DIGEST) if isinstance(item, BaseModel) else item
            for item in self.settings
        ]
        return fingerprint([self.name, plain, list(needed)])


@dataclass(frozen=True)
class StageReport:
    """A finished stage.

    Args:
        name: Name of the stage.
        seconds: Time it took when it ran.
        skipped: Whether an earlier run had already finished it.
        folder: Its folder.
        result: Its result.
    """

    name: str
    seconds: float
    skipped: bool
    folder: Path
    result: StageResult


def run_stages(stages: Sequence[Stage], root: Path, announce: Callable[[str], None]) -> list[StageReport]:
    """Run stages in order below `root`, skipping those that are done.

    Args:
        stages: The stages; each comes after the stages that it needs.
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
    """Folder of the markers of a run's stages; it marks a folder as that of a run."""
    return root / "stages"


def replaced_folder(root: Path) -> Path:
    """Folder of results that a run has replaced with others."""
    return root / "replaced"


def stage_values(root: Path, name: str) -> Mapping[str, Any]:
    """The values that a finished stage left for later ones; raises `StorageError` if its marker is damaged."""
    noted = _read_note(root, name)
    return {} if noted is None else noted.values


def stage_begun(root: Path, name: str) -> bool:
    """Whether a stage was begun; raises as `stage_values`."""
    return _read_note(root, name) is not None


def stage_done(root: Path, name: str) -> bool:
    """Whether a stage was finished, with whatever settings; raises as `stage_values`."""
    noted = _read_note(root, name)
    return noted is not None and noted.done


def require_search(root: Path) -> None:
    """Raise `StorageError` unless the folder is that of a run which has begun to search."""
    if not stages_folder(root).is_dir():
        raise StorageError("is not the folder of a run", where=root, hint="name the `out` of a `nas run`, or a study")
    if not stage_begun(root, "search"):
        raise StorageError("has no search yet", where=root, hint="continue it with `nas run`")


class StageNote(StrictModel):
    """The marker of a stage.

    Args:
        digest: Digest of the stage's settings and of the results that it needs.
        contents: Digest of what it read from outside the run; empty in notes of earlier versions.
        done: Whether the stage is done.
        seconds: How long it took.
        token: Identifies its result.
        headline: See `StageResult`, as for the rest.
        files: Likewise.
        values: Likewise.
    """

    digest: str
    contents: str = ""
    done: bool = False
    seconds: float = 0.0
    token: str = ""
    headline: str = ""
    files: tuple[str, ...] = ()
    values: dict[str, Any] = {}

    def is_of(self, stage: Stage, digest: str) -> bool:
        """Whether it was made with the same settings, results of other stages, and files from outside."""
        unknown = not (self.contents and stage.contents)
        return self.digest == digest and (unknown or self.contents == stage.contents)


def _run_stage(stage: Stage, root: Path, digest: str) -> tuple[StageReport, str]:
    """Run or skip a stage; returns its report and the token of its result."""
    folder, known = root / stage.name, _read_note(root, stage.name)
    if (
        known is not None
    ):  # the folder belongs to this run: remove temporary files of a killed run in it, and nowhere else
        remove_temporaries(folder)
    done = known is not None and known.done and known.is_of(stage, digest)
    if known and done and not stage.always and all((folder / name).exists() for name in known.files):
        if stage.contents and not known.contents:  # from now on a change is noticed
            _write_note(root, stage.name, known.model_copy(update={"contents": stage.contents}))
        result = StageResult(known.headline, known.files, known.values)
        return StageReport(stage.name, known.seconds, True, folder, result), known.token
    _prepare_folder(stage, root, known, digest)
    if not done:
        _write_note(root, stage.name, StageNote(digest=digest, contents=stage.contents))
    started = time.perf_counter()
    result = stage.run(folder)
    seconds = time.perf_counter() - started
    token = result.token or uuid.uuid4().hex
    if known and done and token == known.token:
        return StageReport(stage.name, known.seconds, True, folder, result), token
    made = {
        "contents": stage.contents,
        "headline": result.headline,
        "files": result.files,
        "values": finite_or_null(dict(result.values)),
    }
    _write_note(root, stage.name, StageNote(digest=digest, done=True, seconds=seconds, token=token, **made))
    return StageReport(stage.name, seconds, False, folder, result), token


def _prepare_folder(stage: Stage, root: Path, known: StageNote | None, digest: str) -> None:
    """Make a stage's folder; if it holds the result of other settings, that is moved away first.

    Raises:
        StorageError: The folder has content that does not come from a run.
    """
    folder = root / stage.name
    if known is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError("exists, but a run would write to it", where=folder, hint="choose another `out`")
    with storage_errors(folder):
        if known is not None and not known.is_of(stage, digest) and folder.exists():
            _put_aside(stage, root)
        folder.mkdir(parents=True, exist_ok=True)


def _put_aside(stage: Stage, root: Path) -> None:
    """Keep the result of a stage, which may have taken hours, under another name; a quick one is removed."""
    folder, why = root / stage.name, "settings or input changed since the last run"
    if stage.always:
        logger.warning("%s: %s, starting over", stage.name, why)
        shutil.rmtree(folder)
        return
    kept = replaced_folder(root)
    kept.mkdir(exist_ok=True)
    places = (kept / f"{stage.name}-{number}" for number in itertools.count(1))
    place = next(path for path in places if not path.exists())
    folder.rename(place)
    logger.warning(
        "%s: %s, starting over; the earlier result is kept in %s until you remove it", stage.name, why, place
    )


def _read_note(root: Path, name: str) -> StageNote | None:
    path = _marker(root, name)
    if not path.is_file():
        return None
    try:
        return parse(read_json(path), StageNote, where=path)
    except ConfigError as error:
        hint = f"restore it, or remove it together with the folder {name} to run that stage again"
        raise StorageError(f"is damaged: {error.what}", where=path, hint=hint) from error


def _write_note(root: Path, name: str, note: StageNote) -> None:
    write_json(_marker(root, name), note.model_dump(mode="json"))


def _marker(root: Path, name: str) -> Path:
    return stages_folder(root) / f"{name}.json"
