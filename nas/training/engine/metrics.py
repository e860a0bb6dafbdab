"""Training metrics: a CSV file that pandas reads. They report on a run; no problem with their file ends it."""

from __future__ import annotations

import csv
import io
import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.errors import StorageError
from nas.files import write_text

logger = logging.getLogger(__name__)

FILE = "metrics.csv"


class AppendedFile:
    """A file that grows by whole records, and never ends in half of one.

    A record that cannot be written, because the disk is full or the folder is gone, is kept in memory and written with
    the next one. The first failure logs a warning; nothing is raised.

    Args:
        path: The file; its folder is created if it is missing.
        head: What a new file begins with.
    """

    def __init__(self, path: Path, head: bytes) -> None:
        self.path, self._head = path, head
        self._waiting = b""
        self._warned = False

    def add(self, record: bytes) -> None:
        """Append a record, after those that could not be written before."""
        self._waiting += record
        try:
            self._write()
        except OSError as error:
            if not self._warned:
                logger.warning("%s: cannot write: %s; training continues without it", self.path, error.strerror)
            self._warned = True
        else:
            self._waiting = b""

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            size = os.fstat(file).st_size
            text = self._waiting if size else self._head + self._waiting
            try:
                while text:
                    text = text[os.write(file, text) :]
            except OSError:
                os.ftruncate(file, size)
                raise
        finally:
            os.close(file)


class MetricsLog:
    """Appends one row per logged step. A resumed run first drops the rows that it will repeat.

    A file that this run did not write is kept under another name: one of an earlier run, one with other columns, one
    that a spreadsheet has saved.

    Args:
        folder: Folder of `metrics.csv`.
        step: Steps already done; rows after it are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / FILE
        self._columns: Sequence[str] = ()
        self._file: AppendedFile | None = None
        self._is_writable = True
        self._columns_in_file = self._keep_until(step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of one step; the columns are those of the first call."""
        if not self._columns:
            self._columns = ("step", *values)
            if self._columns_in_file is not None and self._columns_in_file != self._columns:
                self._move_aside("has other columns")
            if self._is_writable:
                self._file = AppendedFile(self.path, _line(self._columns).encode())
        if self._file is not None:
            row = [str(step), *(f"{values[name]:.6g}" for name in self._columns[1:])]
            self._file.add(_line(row).encode())

    def _keep_until(self, step: int) -> tuple[str, ...] | None:
        """Drop the rows after a step if this run wrote the file; return the file's columns if it is kept."""
        if not (self.path.exists() or self.path.is_symlink()):
            return None
        try:
            text = _text(self.path)
            columns, *rows = _rows(text)
            if rows and not step:
                self._move_aside("belongs to an earlier run")
                return None
            kept = "".join(_line(row) for row in [columns, *rows] if row is columns or int(row[0]) <= step)
            if kept != text:
                write_text(self.path, kept)
        except (OSError, StorageError, ValueError, csv.Error):
            self._move_aside("is not as a run writes it")
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
            logger.warning("%s: %s; it is kept as %s, and a new file begins", self.path, why, aside.name)


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _rows(text: str) -> list[list[str]]:
    """The header and the rows of a file that `MetricsLog.write` wrote, without a last row that a kill cut short.

    Raises:
        ValueError: The text is something else.
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
