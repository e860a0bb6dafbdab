"""The latency table: rows in a CSV file, and beside it, in a JSON file, what they were measured on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from nas.errors import ConfigError, NasError, TableError
from nas.files import StrictModel, parse, read_json, write_json
from nas.latency.measuring import STATISTIC
from nas.latency.rows import LatencyRow, Provenance, read_rows, weakest, write_rows
from nas.runtimes import RuntimeSettings, cpu_model, versions
from nas.space import Block

SCHEMA_VERSION: Literal[1] = 1

_NS_PER_MS = 1_000_000


class TableMetadata(StrictModel):
    """What a table's latencies were measured on, and how.

    Args:
        schema_version: Version of this format.
        device: Name of the device.
        runtime: Name of the runtime; the next four are its settings, see `nas.runtimes.RuntimeSettings`.
        precision: Type the arithmetic is done in.
        compute_unit: Where it runs.
        threads: Processor threads.
        opset: Set of operations converted to.
        cpu: The machine's processor, as the system names it.
        versions: Versions of the system and the libraries.
        statistic: What `latency_ms` is of the samples.
        spaces: Names of the search spaces profiled into the table.
        complete: Whether every block of those spaces is in it.
        processor_share: Lowest share of the processor the measurement had; `None` when nothing was measured.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    device: str
    runtime: str
    precision: str = "fp32"
    compute_unit: str = "cpu"
    threads: int | None = None
    opset: str | None = None
    cpu: str = Field(default_factory=cpu_model)
    versions: dict[str, str] = Field(default_factory=versions)
    statistic: str = STATISTIC
    spaces: tuple[str, ...] = ()
    complete: bool = False
    processor_share: float | None = None

    @property
    def settings(self) -> RuntimeSettings:
        """The runtime and its settings."""
        return RuntimeSettings(self.runtime, self.precision, self.compute_unit, self.threads, self.opset)

    def identity(self) -> dict[str, Any]:
        """What must agree for latencies to stand in one table."""
        names = ("device", "runtime", "precision", "compute_unit", "threads", "opset", "cpu", "statistic")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of blocks on one device with one runtime.

    Args:
        metadata: What they were measured on.
        rows: The rows by block key.
        where: The file, for messages.
    """

    metadata: TableMetadata
    rows: Mapping[str, LatencyRow] = field(default_factory=dict)
    where: Path | None = None

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """Read a table: the CSV at `path` and the JSON beside it.

        Raises:
            TableError: A file is missing, corrupt, foreign or of another schema version, or a value is
                impossible; the message names file, line and column or key.
        """
        path = _csv_path(path)
        if not path.is_file():
            hint = f"measure one with: nas profile SPACE --runtime onnxruntime --table {path}"
            raise TableError("no such latency table", where=path, hint=hint)
        return cls(_read_metadata(path), read_rows(path), path)

    def save(self, path: str | Path) -> LatencyTable:
        """Write the table, rows last, and return it with its new place.

        Killed at any point, what is on disk is the old table, the new one marked incomplete, or a table that
        lacks one of its files and says so; rows never stand beside metadata of other conditions.
        """
        path = _csv_path(path)
        if path.is_file() and not self._same_conditions(path):
            path.unlink()
        _write_metadata(path, self.metadata.model_copy(update={"complete": False}))
        try:
            write_rows(path, self.rows.values())
        except NasError:
            if not path.is_file():
                metadata_path(path).unlink(missing_ok=True)
            raise
        _write_metadata(path, self.metadata)
        return replace(self, where=path)

    def add(self, rows: Iterable[LatencyRow], **metadata: Any) -> LatencyTable:
        """A copy with more rows, and with these metadata changed; a row replaces one of the same key."""
        merged = dict(self.rows) | {row.key: row for row in rows}
        return replace(self, rows=merged, metadata=self.metadata.model_copy(update=metadata))

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, block: Block) -> bool:
        return block.key in self.rows

    @property
    def provenance(self) -> Provenance:
        """`measured` where every row is; otherwise what the first other row says."""
        return weakest(self.rows.values())

    def row(self, block: Block, *, space: str | Path = "SPACE") -> LatencyRow:
        """The row of a block.

        Args:
            block: The block.
            space: File of the search space, for the message.

        Raises:
            TableError: The block is not in the table; names its key and the command that measures it.
        """
        if block.key in self.rows:
            return self.rows[block.key]
        command = f"nas profile {space} --runtime {self.metadata.runtime} --table {self.where or 'FILE'}"
        raise TableError(f"no latency for block {block.key}", where=self.where, hint=f"measure it with: {command}")

    def latency_ms(self, block: Block, *, space: str | Path = "SPACE") -> float:
        """Latency of one call of a block; raises as `row`."""
        return self.row(block, space=space).latency_ms

    def latency_ns(self, block: Block, *, space: str | Path = "SPACE") -> int:
        """Latency in whole nanoseconds, whose sums are exact in any order; raises as `row`."""
        return max(1, round(self.latency_ms(block, space=space) * _NS_PER_MS))

    def _same_conditions(self, path: Path) -> bool:
        try:
            return _read_metadata(path).identity() == self.metadata.identity()
        except TableError:
            return False


def metadata_path(path: str | Path) -> Path:
    """The JSON file beside a table's CSV."""
    return Path(path).with_suffix(".json")


def _csv_path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".csv":
        raise TableError("a latency table's name ends in .csv", where=path, hint=f"use {path.with_suffix('.csv').name}")
    return path


def _write_metadata(path: Path, metadata: TableMetadata) -> None:
    file, value = metadata_path(path), metadata.model_dump(mode="json")
    try:
        unchanged = read_json(file, error=TableError) == value
    except TableError:
        unchanged = False
    if not unchanged:
        write_json(file, value)


def _read_metadata(path: Path) -> TableMetadata:
    file = metadata_path(path)
    if not file.is_file():
        hint = "without it nobody knows what the latencies were measured on: restore it, or profile into a new file"
        raise TableError(f"{file.name} is missing", where=path, hint=hint)
    value = read_json(file, error=TableError)
    version = value.get("schema_version") if isinstance(value, Mapping) else None
    if version != SCHEMA_VERSION:
        what = f"schema_version is {version!r}, this version of nas reads {SCHEMA_VERSION}"
        raise TableError(what, where=file, hint="profile again into a new file")
    try:
        return parse(value, TableMetadata, where=file)
    except ConfigError as error:
        raise TableError(error.what, where=file, hint=error.hint) from error
