"""The rows of a latency table and their CSV form."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import AwareDatetime, Field, NonNegativeInt

from nas.errors import TableError
from nas.files import StrictModel, read_text, write_text

Provenance = Literal["measured", "estimated", "published"]

Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Text without control characters: line ends inside a value do not survive every program that opens a CSV."""

Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LatencyRow(StrictModel):
    """Latency of one block, in milliseconds per call at batch 1.

    Args:
        key: The block's key.
        kind: The block's kind.
        latency_ms: The figure predictions are made of; when measured, the 10th percentile.
        median_ms: Median over the samples, when measured.
        p90_ms: 90th percentile over the samples, when measured.
        samples: Number of timed calls; 0 when not measured.
        provenance: Where the figure comes from.
        measured_at: When it was measured.
    """

    key: Line
    kind: Line
    latency_ms: Milliseconds
    median_ms: Milliseconds | None = None
    p90_ms: Milliseconds | None = None
    samples: NonNegativeInt = 0
    provenance: Provenance
    measured_at: AwareDatetime | None = None

    @pydantic.model_validator(mode="after")
    def _measured_means_measured(self) -> LatencyRow:
        if self.provenance != "measured":
            return self
        if self.median_ms is None or self.p90_ms is None or self.measured_at is None or not self.samples:
            raise ValueError("a measured row needs median_ms, p90_ms, samples and measured_at")
        if not self.latency_ms <= self.median_ms <= self.p90_ms:
            raise ValueError("latency_ms, median_ms and p90_ms are not in rising order")
        return self


def weakest(rows: Iterable[LatencyRow]) -> Provenance:
    """`measured` where every row is; otherwise what the first other row says."""
    return next((row.provenance for row in rows if row.provenance != "measured"), "measured")


COLUMNS = tuple(LatencyRow.model_fields)


def write_rows(path: Path, rows: Iterable[LatencyRow]) -> None:
    """Write rows as CSV, atomically; numbers are written so that they read back equal."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row.model_dump() | {"measured_at": row.measured_at and row.measured_at.isoformat()})
    write_text(path, text.getvalue())


def read_rows(path: Path) -> dict[str, LatencyRow]:
    """Read rows by key.

    Raises:
        TableError: The file is missing, not such a CSV, or a value is impossible; names line and column.
    """
    rows: dict[str, LatencyRow] = {}
    for line, values in _records(path):
        row = _parse(values, f"{path}: line {line}")
        if row.key in rows:
            raise TableError(f"key {row.key!r} stands twice", where=f"{path}: line {line}", hint="remove one of them")
        rows[row.key] = row
    return rows


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.reader(io.StringIO(read_text(path, error=TableError), newline=""), strict=True)
    try:
        _check_header(next(reader, []), path)
        for fields in reader:
            if len(fields) != len(COLUMNS):
                what = f"{len(fields)} values instead of {len(COLUMNS)}"
                raise TableError(what, where=f"{path}: line {reader.line_num}", hint="profile again into a new file")
            yield reader.line_num, dict(zip(COLUMNS, fields, strict=True))
    except csv.Error as error:
        raise TableError(f"not CSV: {error}", where=f"{path}: line {reader.line_num}") from error


def _check_header(header: list[str], path: Path) -> None:
    if tuple(header) == COLUMNS:
        return
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in COLUMNS if name not in header]
    if unknown:
        what = f"unknown column {unknown[0]!r}"
    elif missing:
        what = f"column {missing[0]!r} is missing"
    else:
        what = "columns are in another order or stand twice"
    hint = f"the columns are {','.join(COLUMNS)}"
    raise TableError(f"not a latency table: {what}", where=f"{path}: line 1", hint=hint)


def _parse(values: Mapping[str, str], where: str) -> LatencyRow:
    try:
        return LatencyRow.model_validate({name: value for name, value in values.items() if value != ""})
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = f", column {first['loc'][0]}" if first["loc"] else ""
        got = f", got {first['input']!r}" if first["loc"] and first["type"] != "missing" else ""
        message = "empty" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
        raise TableError(f"{message}{got}", where=f"{where}{column}") from error
