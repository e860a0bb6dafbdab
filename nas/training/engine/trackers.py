"""The log of a run: `metrics.csv`, and the trackers of accelerate that the settings name.

They report on a run and decide nothing in it: what becomes of a tracker ends no run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, NasError
from nas.files import StrictModel, parse, read_json, write_json
from nas.training.engine.metrics import MetricsLog
from nas.training.engine.settings import LoopConfig

logger = logging.getLogger(__name__)

PROJECT = "nas"
"""Name under which W&B, MLflow and Trackio show all runs."""

IDS = "trackers.json"

Write = Callable[[int, Mapping[str, float]], None]
"""Writes the values of a step to the log."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise `ConfigError` for a tracker that is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"trackers: {name} is not installed", hint=f"pip install {name}, or leave it out")


@contextlib.contextmanager
def run_log(folder: Path, step: int, config: LoopConfig) -> Iterator[Write]:
    """Open the log of a run, in its main process.

    Args:
        folder: Folder of the run.
        step: Steps already done. At 0, trackers begin a new run; otherwise they continue the one of the folder.
        config: Settings, which name the trackers and are shown in them.
    """
    table, ids = MetricsLog(folder, step), _TrackerIds.of(folder, step)
    trackers = [tracker for name in config.trackers if (tracker := _started(name, folder, step, ids)) is not None]
    if set(config.trackers) - {"tensorboard"}:
        mlflow = next((each.tracker.tracker.info.run_id for each in trackers if each.name == "mlflow"), ids.mlflow)
        ids.model_copy(update={"mlflow": mlflow}).keep(folder)
    if step == 0:
        shown = {key: value for key, value in config.model_dump(mode="json").items() if key != "trackers"}
        for tracker in trackers:
            tracker.show_settings(shown)

    def write(at: int, values: Mapping[str, float]) -> None:
        table.write(at, values)
        for tracker in trackers:
            tracker.log(at, values)

    try:
        yield write
    finally:
        for tracker in trackers:
            tracker.close()


class _TrackerIds(StrictModel):
    """What trackers know a run by, kept in its folder so that a resumed run continues it.

    Args:
        run: Id of the run in W&B, and the end of its name in Trackio.
        mlflow: Id that MLflow has given it.
    """

    run: str
    mlflow: str | None = None

    @classmethod
    def of(cls, folder: Path, step: int) -> _TrackerIds:
        """Those of a run that resumes, or new ones."""
        if step:
            with contextlib.suppress(NasError):
                return parse(read_json(folder / IDS), cls, where=folder / IDS)
        return cls(run=uuid.uuid4().hex[:12])

    def keep(self, folder: Path) -> None:
        with contextlib.suppress(NasError):
            write_json(folder / IDS, self.model_dump())


class _Tracker:
    """A tracker that is given up when it fails.

    Args:
        name: Its name.
        tracker: A `GeneralTracker` of accelerate.
    """

    def __init__(self, name: str, tracker: Any) -> None:
        self.name, self.tracker = name, tracker
        self._is_used = True

    def start(self) -> bool:
        self._try(self.tracker.start)
        return self._is_used

    def show_settings(self, settings: Mapping[str, Any]) -> None:
        if self.name != "tensorboard":  # it would make an entry of its own of them
            self._try(lambda: self.tracker.store_init_configuration(dict(settings)))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._try(lambda: self.tracker.log(dict(values), step=step))

    def close(self) -> None:
        self._try(self.tracker.finish)

    def _try(self, call: Callable[[], None]) -> None:
        if not self._is_used:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - each tracker has errors of its own
            self._is_used = False
            reason = " ".join(str(error).split()) or type(error).__name__
            logger.warning("tracker %s: %s; training continues without it", self.name, reason)


def _started(name: str, folder: Path, step: int, ids: _TrackerIds) -> _Tracker | None:
    """A tracker that follows the run of a folder; `None` if it cannot be started."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == "tensorboard":
        _hide_tracebacks_of_its_thread()
        made = kind("tensorboard", folder, purge_step=step + 1)  # what earlier events say of later steps is discarded
    elif name == "wandb":
        made = kind(PROJECT, id=ids.run, name=folder.name, dir=folder, resume="allow", reinit="create_new")
    elif name == "mlflow":
        made = kind(PROJECT, run_id=ids.mlflow, run_name=folder.name)
    else:
        made = kind(PROJECT, name=f"{folder.name}-{ids.run}", resume="allow", embed=False)
    tracker = _Tracker(name, made)
    return tracker if tracker.start() else None


def _hide_tracebacks_of_its_thread() -> None:
    """Leave it to the caller of TensorBoard's writer, which raises them too, to report the errors of its thread."""
    if getattr(threading.excepthook, "shows", None) is not None:
        return
    shows = threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        if type(args.thread).__module__ != "tensorboard.summary.writer.event_file_writer":
            shows(args)

    report.shows = shows  # type: ignore[attr-defined]
    threading.excepthook = report
