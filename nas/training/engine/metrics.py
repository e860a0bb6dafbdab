"""Training metrics: a CSV that pandas reads, and TensorBoard beside it.

They report on a run and decide nothing in it: no file of theirs, whatever its state, ends one.
"""

from __future__ import annotations

import csv
import io
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.errors import StorageError
from nas.files import write_text
from nas.training.engine.appending import AppendedFile
from nas.training.engine.tensorboard import EventFile

logger = logging.getLogger(__name__)

FILE = "metrics.csv"


class MetricsLog:
    """Appends one row per logged step; a resumed run drops the rows it is about to repeat.

    A file that is not this run's is kept under another name: one of an earlier run, one with other columns, one that
    a spreadsheet has saved.

    Args:
        folder: Where `metrics.csv` and `tensorboard/` stand.
        step: Steps already done; rows after it are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / FILE
        self._events = EventFile(folder / "tensorboard", step + 1)
        self._columns: Sequence[str] = ()
        self._file: AppendedFile | None = None
        self._is_writable = True
        self._found = self._keep_until(step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of one step; the columns are those of the first call."""
        if not self._columns:
            self._columns = ("step", *values)
            if self._found is not None and self._found != self._columns:
                self._move_aside("has other columns")
            if self._is_writable:
                self._file = AppendedFile(self.path, _line(self._columns).encode())
        if self._file is not None:
            row = [str(step), *(f"{values[name]:.6g}" for name in self._columns[1:])]
            self._file.add(_line(row).encode())
        self._events.write(step, values)

    def _keep_until(self, step: int) -> tuple[str, ...] | None:
        """Leave the rows up to a step in the file, if it is this run's; its columns, where one stays."""
        if not (self.path.exists() or self.path.is_symlink()):
            return None
        try:
            text = _text(self.path)
            columns, *rows = _rows(text)
            if rows and not step:
                self._move_aside("is of an earlier run")
                return None
            kept = "".join(_line(row) for row in [columns, *rows] if row is columns or int(row[0]) <= step)
            if kept != text:
                write_text(self.path, kept)
        except (OSError, StorageError, ValueError, csv.Error):
            self._move_aside("is not as a run has written it")
            return None
        return tuple(columns)

    def _move_aside(self, why: str) -> None:
        names = (self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}") for number in itertools.count(1))
        aside = next(name for name in names if not (name.exists() or name.is_symlink()))
        try:
            self.path.rename(aside)
        except OSError as error:
            self._is_writable = False
            logger.warning("%s: %s, and cannot be moved: %s; no metrics are kept", self.path, why, error.strerror)
        else:
            logger.warning("%s: %s; it is kept as %s, and a new one begins", self.path, why, aside.name)


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _rows(text: str) -> list[list[str]]:
    """The header and the rows of a file, as `MetricsLog.write` writes them.

    What a kill has left of the last row is left out.

    Raises:
        ValueError: It is something else.
    """
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    if not rows or rows[0][0] != "step":
        raise ValueError("no metrics of a run")
    if len(rows) > 1 and len(rows[-1]) < len(rows[0]):
        rows.pop()
    for row in rows[1:]:
        if len(row) != len(rows[0]) or int(row[0]) < 0 or any(map(_is_no_number, row)):
            raise ValueError("no row of metrics")
    return rows


def _is_no_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return True
    return False


def _line(row: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(row)
    return buffer.getvalue()
