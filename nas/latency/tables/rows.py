"""The rows of a latency table and their CSV form.

Each line of the file ends with a checksum over its values and the identity of its table. So reading a table detects
figures that were changed by hand, and rows beside the metadata of another device.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import AwareDatetime, Field, FiniteFloat, NonNegativeInt, PositiveInt

from nas.errors import TableError
from nas.files import StrictModel, fingerprint, read_text, write_text
from nas.latency.measuring.recorded import Stopped
from nas.validation import decimal_float, decimal_int

Provenance = Literal["measured", "estimated", "published"]

_FROM_THE_WEAKEST: tuple[Provenance, ...] = ("estimated", "published")

Status = Literal["ok", "out_of_memory", "over_memory_budget", "failed"]

SingleLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Text without control characters: line ends inside a value do not survive every program that opens a CSV."""

Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Percent = Annotated[float, Field(ge=0, allow_inf_nan=False)]

Share = Annotated[float, Field(ge=0, le=1)]

_NEEDED = ("latency_ms", "ci_low_ms", "ci_high_ms", "median_ms", "p90_ms", "samples", "stopped", "drift_percent")
_MEASURED = (*_NEEDED, "measured_at")
PLACEMENT = tuple(f"{what}_on_{engine}" for what in ("ops", "cost") for engine in ("neural_engine", "gpu", "cpu"))
"""The columns with the processors a block runs on."""
_ROUNDING = 1e-6
_NOT_FINITE = re.compile(r"[-+]?(?:inf|infinity|nan|[0-9.]+e[+]?[0-9]+)", re.IGNORECASE)
_TEXTS = frozenset({"key", "kind", "status", "stopped", "reason", "provenance", "measured_at"})
_OPTIONAL = ("load_ms", "psnr_db", "max_abs_error", *PLACEMENT)


class LatencyRow(StrictModel):
    """Latency of one block, in milliseconds per call at batch 1, or the reason why it has none.

    A measured row has all figures up to `drift_percent`, and those others that its runtime reports. An estimated or
    published row has a latency, and may have sizes. A row that is not `ok` has only sizes, because the block cannot run
    there.

    Args:
        key: The block's key.
        kind: The block's kind.
        status: `ok`; `out_of_memory` if the block did not fit into memory; `over_memory_budget` if it needs more
            than the budget; `failed` if converter or device refused it.
        latency_ms: The latency that predictions use; if measured, the statistic named in the metadata.
        ci_low_ms: Lower end of its 95% confidence interval, if measured.
        ci_high_ms: Upper end.
        median_ms: Median over the samples, if measured.
        p90_ms: 90th percentile over the samples, if measured.
        samples: Number of timed calls; 0 if not measured.
        stopped: Why measuring ended, see `nas.latency.measuring.recorded`.
        drift_percent: How much slower the machine was meanwhile than at its best.
        memory_bytes: Peak memory of one call with its weights, if the runtime reports it.
        package_bytes: Size of the converted block on disk; `None` for a runtime that has no files.
        load_ms: Time to load it, if the runtime reports it.
        ops_on_neural_engine: Share of its operations, from 0 to 1, that the device places on the Neural Engine; `None`
            if the placement is not known. The shares of the three processors add up to 1.
        ops_on_gpu: Share of its operations on the GPU.
        ops_on_cpu: Share of its operations on the processor.
        cost_on_neural_engine: The same share, weighted by the cost that the system estimates for each operation. It
            is not measured.
        cost_on_gpu: Share of the estimated cost on the GPU.
        cost_on_cpu: Share of the estimated cost on the processor.
        psnr_db: How close one call on the device is to torch with the same weights and inputs, in dB; see
            `nas.runtimes.parity.Parity`. `None` if it was not compared, or if there was no difference.
        max_abs_error: Largest absolute difference of the same comparison.
        reason: Why the block failed or ran out of memory, in a line.
        provenance: Source of the figures.
        measured_at: When it was measured.
    """

    key: SingleLine
    kind: SingleLine
    status: Status = "ok"
    latency_ms: Milliseconds | None = None
    ci_low_ms: Milliseconds | None = None
    ci_high_ms: Milliseconds | None = None
    median_ms: Milliseconds | None = None
    p90_ms: Milliseconds | None = None
    samples: NonNegativeInt = 0
    stopped: Stopped | None = None
    drift_percent: Percent | None = None
    memory_bytes: NonNegativeInt | None = None
    package_bytes: PositiveInt | None = None
    load_ms: Milliseconds | None = None
    ops_on_neural_engine: Share | None = None
    ops_on_gpu: Share | None = None
    ops_on_cpu: Share | None = None
    cost_on_neural_engine: Share | None = None
    cost_on_gpu: Share | None = None
    cost_on_cpu: Share | None = None
    psnr_db: FiniteFloat | None = None
    max_abs_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    reason: SingleLine | None = None
    provenance: Provenance
    measured_at: AwareDatetime | None = None

    @property
    def usable(self) -> bool:
        """Whether there is a latency."""
        return self.status == "ok"

    @pydantic.model_validator(mode="after")
    def _has_what_its_status_says(self) -> LatencyRow:
        if not self.usable:
            needed = {"over_memory_budget": ("memory_bytes",), "failed": ("reason",)}.get(self.status, ())
            return self._holds(f"a row of status {self.status}", needed, (*_NEEDED, *_OPTIONAL))
        if self.provenance != "measured":
            foreign = (*_MEASURED[1:], *_OPTIONAL, "reason")
            return self._holds(f"a row of provenance {self.provenance}", ("latency_ms",), foreign)
        return self._holds("a measured row", _MEASURED, ("reason",))._in_order()._whole()

    def _holds(self, what: str, needed: Sequence[str], foreign: Sequence[str]) -> LatencyRow:
        missing = [name for name in needed if not self._given(name)]
        if missing:
            raise ValueError(f"{what} needs {' and '.join(missing)}")
        unwanted = [name for name in foreign if self._given(name)]
        if unwanted:
            raise ValueError(f"{what} has no {' or '.join(unwanted)}")
        return self

    def _given(self, name: str) -> bool:
        return self.samples > 0 if name == "samples" else getattr(self, name) is not None

    def _in_order(self) -> LatencyRow:
        for names in (("ci_low_ms", "latency_ms", "ci_high_ms"), ("latency_ms", "median_ms", "p90_ms")):
            values = [getattr(self, name) for name in names]
            if values != sorted(values):
                raise ValueError(f"{names[0]}, {names[1]} and {names[2]} are not in rising order")
        return self

    def _whole(self) -> LatencyRow:
        for names in (PLACEMENT[:3], PLACEMENT[3:]):
            shares = [getattr(self, name) for name in names]
            if shares != [None] * 3 and (None in shares or abs(sum(shares) - 1) > _ROUNDING):
                raise ValueError(f"{names[0]}, {names[1]} and {names[2]} do not make 1")
        return self


def weakest(rows: Iterable[LatencyRow]) -> Provenance:
    """`estimated` if any row is, else `published` if any row is, else `measured`; in any order of the rows."""
    found = {row.provenance for row in rows}
    return next((provenance for provenance in _FROM_THE_WEAKEST if provenance in found), "measured")


COLUMNS = (*LatencyRow.model_fields, "checksum")


def write_rows(path: Path, rows: Iterable[LatencyRow], identity: str) -> None:
    """Write rows as CSV, atomically; numbers are written so that they read back equal.

    Args:
        path: The file.
        rows: The rows.
        identity: Digest of the table's conditions, which is part of the checksums.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow((*_cells(row), _checksum(row, identity)))
    write_text(path, text.getvalue())


def read_rows(path: Path, identity: str) -> dict[str, LatencyRow]:
    """Read rows by key; `identity` must be the one they were written with.

    Raises:
        TableError: The file is missing or is not the CSV of a table, a value is impossible, or a row does not match its
            checksum; names line and column or key.
    """
    rows: dict[str, LatencyRow] = {}
    for line, values in _records(path):
        where = f"{path}: line {line}"
        checksum = values.pop("checksum")
        row = _parse(values, where)
        _check(row, checksum, identity, where)
        if row.key in rows:
            raise TableError(f"key {row.key!r} is there twice", where=where, hint="remove one of them")
        rows[row.key] = row
    return rows


def _cells(row: LatencyRow) -> list[str]:
    return [_cell(getattr(row, name)) for name in LatencyRow.model_fields]


def _cell(value: str | float | datetime | None) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return "" if value is None else str(value)


def _checksum(row: LatencyRow, identity: str) -> str:
    """First eight hexadecimal digits of a SHA-256 over the values, independent of their spelling in the file."""
    return fingerprint([identity, *_cells(row)])[:8]


def _check(row: LatencyRow, checksum: str, identity: str, where: str) -> None:
    if not checksum:
        raise TableError("empty", where=f"{where}, column checksum")
    if checksum != _checksum(row, identity):
        what = f"row of {row.key} does not match its checksum: it was edited, "
        what += "or the metadata beside it is another table's"
        hint = "profile again, or write intended changes through nas.LatencyTable"
        raise TableError(what, where=where, hint=hint)


def _records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    text = read_text(path, error=TableError).removeprefix("\ufeff")  # the byte order mark that spreadsheets write
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1  # where a record begins; an unclosed quote continues over the next lines
    try:
        _check_header(next(reader, []), path)
        line = reader.line_num + 1
        for fields in reader:
            if len(fields) != len(COLUMNS):
                what = f"{len(fields)} values instead of {len(COLUMNS)}: the line was cut short or edited"
                hint = "restore it, or profile again into a new file"
                raise TableError(what, where=f"{path}: line {line}", hint=hint)
            yield line, dict(zip(COLUMNS, fields, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"not CSV: {error}", where=f"{path}: line {line}") from error


def _check_header(header: list[str], path: Path) -> None:
    if tuple(header) == COLUMNS:
        return
    unknown = [name for name in header if name not in COLUMNS]
    missing = [name for name in COLUMNS if name not in header]
    if not header:
        what = "there is no header"
    elif unknown:
        what = f"unknown column {unknown[0]!r}"
    elif missing:
        what = f"column {missing[0]!r} is missing"
    else:
        what = "columns are in another order, or one is there twice"
    hint = f"the columns are {','.join(COLUMNS)}; times are in milliseconds"
    raise TableError(f"not a latency table: {what}", where=f"{path}: line 1", hint=hint)


def _value(column: str, text: str) -> str | float | None:
    """The value of a cell: a number if the column has numbers and it is one, else its text, which the model judges."""
    if not text:
        return None
    if column in _TEXTS:
        return text
    for read in (decimal_int, decimal_float):
        with contextlib.suppress(ValueError):
            return read(text)
    return math.inf if _NOT_FINITE.fullmatch(text) else text


def _parse(values: dict[str, str], where: str) -> LatencyRow:
    try:
        return LatencyRow.model_validate({name: _value(name, text) for name, text in values.items()})
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise TableError(first["msg"].removeprefix("Value error, "), where=where) from error
        column = str(first["loc"][0])
        got = f"{first['msg']}, got {values[column]!r}" if values[column] else "empty"
        raise TableError(got, where=f"{where}, column {column}") from error
