"""Training metrics: a CSV that pandas reads, and TensorBoard beside it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from nas.files import storage_errors, write_text


class MetricsLog:
    """Appends one row per logged step; a resumed run drops the rows it is about to repeat.

    Args:
        folder: Where `metrics.csv` and `tensorboard/` stand.
        step: Steps already done; rows after it are dropped.
        is_writer: Whether this process writes; the others only read.
    """

    def __init__(self, folder: Path, step: int, is_writer: bool = True) -> None:
        self.path = folder / "metrics.csv"
        self._columns: list[str] = []
        self._writer: SummaryWriter | None = None
        if is_writer:
            with storage_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
            self._keep_until(step)
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values of one step; the columns are those of the first call."""
        if self._writer is None:
            return
        with storage_errors(self.path):
            if not self._columns:
                self._columns = ["step", *values]
                self.path.write_text(_line(self._columns), encoding="utf-8")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line([str(step), *(f"{values[name]:.6g}" for name in self._columns[1:])]))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def tail_mean(self, name: str, rows: int) -> float:
        """Mean of a column over the last rows; not a number where nothing was logged."""
        if not self.path.is_file():
            return math.nan
        return float(pd.read_csv(self.path)[name].tail(rows).mean())

    def _keep_until(self, step: int) -> None:
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        if not rows:
            return
        self._columns = rows[0]
        kept = [row for row in rows[1:] if len(row) == len(rows[0]) and int(row[0]) <= step]
        write_text(self.path, "".join(_line(row) for row in [rows[0], *kept]))

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def _line(row: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(row)
    return buffer.getvalue()
