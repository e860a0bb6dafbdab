"""Studies in a storage: created, resumed, or opened to read."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from nas.errors import ConfigError, StorageError
from nas.files import fingerprint, lock, lock_owner
from nas.quality.base import Direction
from nas.search.storage.address import Address, address
from nas.search.storage.contents import IDENTITY, LONGEST_NAME, check_name, check_trials, read_identity
from nas.search.storage.rdb import contents_errors, database_errors
from nas.search.storage.sqlite import file_connection, file_reading
from nas.search.timing import Timing

_SECOND_SCORING = " (second scoring "
"""In the name of a study of attempts, after the name of the study that is scored again."""

_SHOWN, _PLURAL = {"steps", "direction", "device", "runtime", "weights"}, {"budgets", "devices", "weights"}
"""What of an identity is short enough to be shown, and what is not one thing."""

IDENTITY_S = 10
"""Seconds to wait for the worker that created a study to write its identity."""


@contextlib.contextmanager
def writable_study(
    storage: str | Path,
    name: str,
    *,
    directions: tuple[Direction, Direction],
    metric_names: tuple[str, str],
    identity: Mapping[str, Any],
    timing: Timing,
) -> Iterator[optuna.Study]:
    """Create a study, or open it to resume it.

    A running trial in a SQLite file belongs to a process that has ended, because only one process at a time may search
    there; it is marked as failed. On a server, such trials are found by their missing heartbeats.

    Args:
        storage: Path of a SQLite file, or a storage URL.
        name: Name of the study.
        directions: Directions of quality and latency.
        metric_names: Names of quality and latency.
        identity: Plain data that must be equal in all runs of the study.
        timing: How long to wait for a server that stops answering while the study is open.

    Raises:
        StorageError: The storage cannot be opened, or another process is searching in the SQLite file.
        ConfigError: The study has another identity or is damaged, or the name cannot be used.
    """
    where = address(storage)
    check_name(name)
    with database_errors(where), _only_user(where.file, "searching"), _connection(where, timing) as opened:
        place = f"{where.shown}: study {name}"
        with contents_errors(where):
            study, stored = _make_or_load(opened, name, directions, where=place)
            if stored is None:
                _write(study, identity, metric_names, where=place)
            else:
                check_trials(study, where=place)
        if stored is not None:
            _compare(identity, stored, where=place)
        if where.file is not None:
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
        yield study


@contextlib.contextmanager
def changeable_study(
    storage: str | Path, name: str, timing: Timing, *, doing: str = "scoring again", kind: str = ".rescore"
) -> Iterator[optuna.Study]:
    """Open a study to add to it; raises as `readable_study`, and if another process does the same in the SQLite file.

    Args:
        storage: Path of a SQLite file, or a storage URL.
        name: Name of the study.
        timing: How long to wait for a server that stops answering while the study is open.
        doing: What is added, for the message to others.
        kind: The lock of the SQLite file that is for this alone.
    """
    where = address(storage)
    _check_there(where)
    only_user = _only_user(where.file, doing, kind)
    with database_errors(where), _connection(where, timing) as opened, only_user:
        yield _load(opened, name, where)


def check_server(storage: str | Path) -> None:
    """Open a database server once, as a worker does, and close it; raises as `writable_study`."""
    where = address(storage)
    with database_errors(where), _connection(where, Timing(outage_s=0)):
        pass


def second_scoring(study: optuna.Study, metric: str, direction: Direction) -> optuna.Study:
    """The study of attempts to score a study's architectures again; made if there is none.

    Args:
        study: The study, open for writing.
        metric: Key of the metric, whose attempts are apart from those of others.
        direction: Its direction.
    """
    prefix = _of_second_scorings(study.study_name)
    name = f"{prefix}{fingerprint([study.study_name, metric])})"
    return optuna.create_study(study_name=name, storage=study._storage, direction=direction, load_if_exists=True,
                               sampler=optuna.samplers.RandomSampler())  # fmt: skip


def second_scorings(study: optuna.Study) -> list[optuna.Study]:
    """The studies of attempts to score a study's architectures again, with any metric."""
    prefix = _of_second_scorings(study.study_name)
    names = [name for name in optuna.get_all_study_names(study._storage) if name.startswith(prefix)]
    return [optuna.load_study(study_name=name, storage=study._storage) for name in names]


def _of_second_scorings(name: str) -> str:
    return f"{name[: LONGEST_NAME - 64]}{_SECOND_SCORING}"


@contextlib.contextmanager
def readable_study(storage: str | Path, name: str) -> Iterator[optuna.Study]:
    """Open a study to read it, without permission to write and without leaving files.

    Raises:
        StorageError: The storage cannot be opened, or holds no such study; the message lists those it holds.
        ConfigError: The study is damaged, or the name cannot be used.
    """
    where = address(storage)
    _check_there(where)
    with database_errors(where), _reading(where) as opened:
        yield _load(opened, name, where)


def stored_studies(storage: str | Path) -> tuple[str, ...]:
    """Names of the studies in a storage, without those of second scorings; raises as `readable_study`."""
    where = address(storage)
    _check_there(where)
    with database_errors(where), _reading(where) as opened, contents_errors(where):
        return _names(opened)


def _names(storage: BaseStorage) -> tuple[str, ...]:
    return tuple(sorted(name for name in optuna.get_all_study_names(storage) if _SECOND_SCORING not in name))


def _connection(where: Address, timing: Timing) -> contextlib.AbstractContextManager[BaseStorage]:
    """The storage, open for writing."""
    if where.file is not None:
        return file_connection(where)
    from nas.search.storage.server import server_connection  # not read by a search on a file

    return server_connection(where, timing)


def _reading(where: Address) -> contextlib.AbstractContextManager[BaseStorage]:
    """The storage, open for reading."""
    if where.file is not None:
        return file_reading(where)
    from nas.search.storage.server import server_reading

    return server_reading(where)


def _check_there(where: Address) -> None:
    if where.file is not None and not where.file.is_file():
        raise StorageError(
            "no such file", where=where.file, hint="`nas search` creates it; --storage names another file"
        )


def _load(storage: BaseStorage, name: str, where: Address) -> optuna.Study:
    check_name(name)
    with contents_errors(where):
        names = optuna.get_all_study_names(storage)
        if name not in names:
            known = ", ".join(sorted(known for known in names if _SECOND_SCORING not in known)) or "none"
            raise StorageError(f"no study {name!r} (known: {known})", where=where.shown)
        study = optuna.load_study(study_name=name, storage=storage)
        check_trials(study, where=f"{where.shown}: study {name}")
    return study


def _make_or_load(
    storage: BaseStorage, name: str, directions: tuple[Direction, Direction], *, where: str
) -> tuple[optuna.Study, Mapping[str, Any] | None]:
    """The study and its stored identity; `None` if this process must write it.

    If workers start together, the database lets one of them create the study. That worker writes the identity, and the
    others compare theirs with it.
    """
    try:
        return optuna.create_study(study_name=name, storage=storage, directions=list(directions)), None
    except DuplicatedStudyError:
        study = optuna.load_study(study_name=name, storage=storage)
    if IDENTITY not in study.user_attrs:
        _check_directions(study, directions, where=where)
    until = time.monotonic() + IDENTITY_S
    while (stored := study.user_attrs.get(IDENTITY)) is None and time.monotonic() < until:
        if study.get_trials(deepcopy=False):
            break
        time.sleep(0.1)
    if stored is not None:
        read_identity(study, where=where)
    return study, stored


def _check_directions(study: optuna.Study, directions: tuple[Direction, Direction], *, where: str) -> None:
    """Check the objectives, because a study of another program may have any."""
    objectives = tuple(direction.name.lower() for direction in study.directions)
    if objectives != directions:
        raise ConfigError(f"its objectives are to {', '.join(objectives)}; a search needs {', '.join(directions)}",
                          where=where, hint="use another study name")  # fmt: skip


def _write(study: optuna.Study, identity: Mapping[str, Any], metric_names: tuple[str, str], *, where: str) -> None:
    if study.get_trials(deepcopy=False):
        raise ConfigError("was not made by `nas search`", where=where, hint="use another study name")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(list(metric_names))
    study.set_user_attr(IDENTITY, dict(identity))


def _compare(identity: Mapping[str, Any], stored: Mapping[str, Any], *, where: str) -> None:
    changed = [_difference(key, stored.get(key), value) for key, value in identity.items() if stored.get(key) != value]
    if changed:
        raise ConfigError(f"was made with {' and '.join(changed)}", where=where,
                          hint="use another study name, or the settings that the study was made with")  # fmt: skip


def _difference(key: str, before: Any, now: Any) -> str:
    """What a study was made with, and this run was not."""
    words = key.replace("_", " ")
    if key in _SHOWN and before is not None:
        return f"{words} {before} instead of {now}"
    return f"other {words}" if key in _PLURAL else f"another {words}"


@contextlib.contextmanager
def _only_user(database: Path | None, doing: str, kind: str = "") -> Iterator[None]:
    """Hold a lock of the SQLite file; the system releases it when the process ends.

    Args:
        database: The file; `None` for a server, which needs no lock.
        doing: What the process does there, for the message to others.
        kind: Which lock, as a part of its name.
    """
    if database is None:
        yield
        return
    # All links to the file share one lock.
    real = database.resolve()
    file = real.with_name(f".{real.name}{kind}.lock")
    with lock(file, wait=False) as held:
        if not held:
            raise StorageError(
                f"another process is {doing} in this SQLite file, which serves one at a time: {lock_owner(file)}",
                where=database,
                hint="wait for it, or keep the study in PostgreSQL, which serves any number "
                "(--storage postgresql://user@host/base, see docs/workers.md)",
            )
        yield
