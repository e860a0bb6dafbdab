"""Files attached to trials, for Optuna's dashboard.

A file is an artifact of the study, as `optuna.artifacts.upload_artifact` makes it. It cannot be one of the trial
itself, because Optuna lets nobody add to a finished trial. But the dashboard also looks for the artifacts of a trial
among the attributes of its study, under `dashboard:artifacts:TRIAL:ARTIFACT`. So each file is noted there too, and is
shown beside its trial as well.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore, upload_artifact
from optuna.trial import FrozenTrial

from nas.files import atomic_write, hold
from nas.search.storage.contents import IDENTITY
from nas.search.storage.studies import changeable_study
from nas.search.timing import Timing

OF_STUDY, OF_TRIAL = "artifacts:", "dashboard:artifacts:{trial}:"
"""Beginnings of the keys of a study's system attributes, as Optuna and its dashboard have them."""

_IDENTIFIER = re.compile(r"[0-9a-fA-F-]+")
"""An identifier is the name of a file, so it leads nowhere else."""


class Attachments:
    """The files that are attached to the trials of a study.

    Args:
        study: The study, open for writing.
        folder: Folder of the files, the `--artifact-dir` of optuna-dashboard.
    """

    def __init__(self, study: optuna.Study, folder: Path) -> None:
        self._study, self._folder, self._store = study, folder, _Store(folder)
        self._trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}

    @property
    def space_fingerprint(self) -> str | None:
        """Digest of the space that the study searched."""
        stored: str | None = self._study.user_attrs[IDENTITY].get("space_content")
        return stored

    def has(self, trial: int, name: str) -> bool:
        """Whether a file of that name is attached to a trial, and there.

        Args:
            trial: Number of the trial.
            name: Name of the file.
        """
        artifact = self._of_study().get(name)
        if artifact is None or not (self._folder / artifact).is_file():
            return False
        return self._of_trial(trial).get(name) == artifact

    def attach(self, trial: int, file: Path) -> str:
        """Attach a file to a trial, or complete what a killed process has begun.

        Args:
            trial: Number of the trial.
            file: The file; its name is unique in the study, and the dashboard shows it.

        Returns:
            Identifier of the artifact, which is the name of its copy in the folder.

        Raises:
            StorageError: The copy cannot be written.
        """
        artifact = self._of_study().get(file.name)
        if artifact is None:
            artifact = upload_artifact(artifact_store=self._store, file_path=str(file), study_or_trial=self._study)
        elif not (self._folder / artifact).is_file():
            with file.open("rb") as content:
                self._store.write(artifact, content)
        self._note(trial, file.name, artifact)
        return artifact

    def _note(self, trial: int, name: str, artifact: str) -> None:
        """Note an artifact of the study as one of a trial, in the place of an earlier one of that name."""
        prefix, known = self._prefix(trial), self._of_trial(trial).get(name)
        if known is not None and known != artifact:
            self._set(prefix + known, None)
        if known != artifact:
            self._set(prefix + artifact, json.loads(self._attributes()[OF_STUDY + artifact]))

    def _of_study(self) -> dict[str, str]:
        return _identifiers(self._attributes(), OF_STUDY)

    def _of_trial(self, trial: int) -> dict[str, str]:
        return _identifiers(self._attributes(), self._prefix(trial))

    def _prefix(self, trial: int) -> str:
        found: FrozenTrial = self._trials[trial]
        return OF_TRIAL.format(trial=found._trial_id)

    def _attributes(self) -> dict[str, Any]:
        return self._study._storage.get_study_system_attrs(self._study._study_id)

    def _set(self, key: str, value: Any) -> None:
        self._study._storage.set_study_system_attr(self._study._study_id, key, json.dumps(value))


@contextlib.contextmanager
def attachments(storage: str | Path, study_name: str, folder: Path) -> Iterator[Attachments]:
    """Open a study to attach files to its trials.

    Args:
        storage: Path of a SQLite file, or a storage URL.
        study_name: Name of the study.
        folder: Folder of the files; it is made if it is missing.

    Raises:
        StorageError: The storage cannot be used, or holds no such study; or another process attaches files to the
            study, or to another one in the same folder.
        ConfigError: The study is damaged.
    """
    with (
        changeable_study(storage, study_name, Timing(), doing="attaching files", kind=".attach") as study,
        hold(folder),
    ):
        yield Attachments(study, folder)


def _identifiers(attributes: dict[str, Any], prefix: str) -> dict[str, str]:
    """Identifiers of artifacts by the names of their files; the dashboard leaves `null` for one that was removed."""
    found = {}
    for key, value in attributes.items():
        if key.startswith(prefix) and isinstance(value, str) and isinstance(meta := _read(value), dict):
            with contextlib.suppress(TypeError):
                known = ArtifactMeta(**meta)
                if _IDENTIFIER.fullmatch(known.artifact_id):
                    found[known.filename] = known.artifact_id
    return found


def _read(text: str) -> Any:
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return None


class _Store(FileSystemArtifactStore):
    """A folder of artifacts in which a file is complete or missing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write a file in one step."""
        with atomic_write(self.folder / artifact_id) as temporary, temporary.open("wb") as out:
            shutil.copyfileobj(content_body, out)
