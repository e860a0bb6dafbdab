"""The latency table: rows in a CSV file, and metadata in a JSON file beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError, TableError
from nas.files import fingerprint
from nas.latency.tables.metadata import TableMetadata, metadata_path, read_metadata, write_metadata
from nas.latency.tables.rows import LatencyRow, Provenance, read_rows, weakest, write_rows

if TYPE_CHECKING:
    from nas.space import Block

_NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class LatencyTable:
    """Latencies of blocks on one device with one runtime.

    Args:
        metadata: How they were measured.
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
            TableError: A file is missing, corrupt, foreign or of another schema version, a value is impossible,
                a row does not match its checksum, or a complete table lacks rows; the message names file, line
                and column or key.
        """
        path = table_file(path)
        metadata = read_metadata(path)
        rows = read_rows(path, metadata.identity_digest)
        # A table that is not complete may have been killed between its two files.
        if metadata.complete and len(rows) != metadata.rows:
            what = f"{len(rows)} rows where {metadata_path(path).name} says {metadata.rows}: it was cut short or edited"
            raise TableError(what, where=path, hint="restore it, or profile again into a new file")
        return cls(metadata, rows, path)

    def save(self, path: str | Path) -> LatencyTable:
        """Write the table, rows last, and return it with its new path.

        If the process is killed, the disk holds the old table, the new one marked incomplete, or a table that lacks
        one of its files and says so. Rows are never stored beside metadata of other conditions.

        Raises:
            TableError: One of the two files exists and does not belong to a latency table.
            StorageError: They cannot be written.
        """
        path = _csv_path(path)
        if path.exists() or metadata_path(path).exists():
            read_metadata(path)
        if path.is_file() and not self._same_conditions(path):
            path.unlink()
        basis = self.metadata.estimate if self.provenance == "estimated" else None
        metadata = self.metadata.model_copy(update={"rows": len(self.rows), "estimate": basis})
        write_metadata(path, metadata.model_copy(update={"complete": False}))
        try:
            write_rows(path, self.rows.values(), metadata.identity_digest)
        except NasError:
            if not path.is_file():
                metadata_path(path).unlink(missing_ok=True)
            raise
        write_metadata(path, metadata)
        return replace(self, metadata=metadata, where=path)

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
        """`estimated` if any row is, else `published` if any row is, else `measured`."""
        return weakest(self.rows.values())

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the identity and of every key with its latency, in any order."""
        latencies = sorted((row.key, row.latency_ms) for row in self.rows.values())
        return fingerprint([self.metadata.identity(), latencies])

    def row(self, block: Block, *, space: str | Path = "SPACE") -> LatencyRow:
        """The row of a block.

        Args:
            block: The block.
            space: File of the search space, for the message.

        Raises:
            TableError: The block is not in the table, and the message names its key and the command that measures
                it. Or the block could not be measured, and the message says why.
        """
        row = self.rows.get(block.key)
        if row is None:
            raise TableError(f"no latency for block {block.key}", where=self.where, hint=self._remedy(space))
        if not row.usable:
            hint = "take it out of the search space, or profile into a new file " + (
                "to try again" if row.status == "failed" else "where it may use more memory"
            )
            raise TableError(f"block {row.key} {self._reason(row)}", where=self.where, hint=hint)
        return row

    def latency_ms(self, block: Block, *, space: str | Path = "SPACE") -> float:
        """Latency of one call of a block, in milliseconds; raises as `row`."""
        latency_ms = self.row(block, space=space).latency_ms
        assert latency_ms is not None
        return latency_ms

    def latency_ns(self, block: Block, *, space: str | Path = "SPACE") -> int:
        """Latency in whole nanoseconds, whose sums are exact in any order; raises as `row`."""
        return max(1, round(self.latency_ms(block, space=space) * _NS_PER_MS))

    def command(self, space: str | Path, name: str) -> str:
        """The command that makes a table like this one for another space, in a file of its own.

        Args:
            space: File of the space.
            name: Its name.
        """
        return self._command(space, None if self.metadata.estimate else Path(f"latency_tables/{name}.csv"))

    def _remedy(self, space: str | Path) -> str:
        """What to do about rows of a space that are missing."""
        verb = "estimate" if self.metadata.estimate is not None else "measure"
        return f"{verb} it with: {self._command(space, self.where or Path('FILE'))}"

    def _command(self, space: str | Path, file: Path | None) -> str:
        """The command that writes the rows of a space into a file; the command's own choice when it is left out."""
        metadata, table = self.metadata, "" if file is None else f" --table {file}"
        unit = f"--compute-unit {metadata.compute_unit}"
        weights = f" --weights {metadata.options['weights']}" if "weights" in metadata.options else ""
        if metadata.estimate is not None:
            return f'nas latency estimate {space} --device "{metadata.device}" {unit}{weights}{table}'
        phone = f" --device PHONE {unit} --deployment-target {metadata.opset}" if metadata.of_phone else ""
        card = f" {unit}" if metadata.compute_unit == "gpu" else ""
        return f"nas profile {space} --runtime {metadata.runtime}{phone or card}{weights}{table}"

    def _reason(self, row: LatencyRow) -> str:
        if row.status == "failed":
            return f"could not be measured: {row.reason}"
        if row.status == "out_of_memory":
            return "ran out of memory when it was measured"
        budget = self.metadata.memory_budget_bytes
        return f"needs {row.memory_bytes} bytes, more than the memory budget" + (f" of {budget}" if budget else "")

    def reference_ms(self, key: str) -> float | None:
        """The latency of the reference block when the table was measured; `None` if it had another reference."""
        return self.metadata.reference_ms if self.metadata.reference == key else None

    def _same_conditions(self, path: Path) -> bool:
        return read_metadata(path).identity() == self.metadata.identity()


def table_file(path: str | Path) -> Path:
    """The path of a table that exists; raises `TableError` for another one."""
    path = _csv_path(path)
    if not path.is_file():
        hint = f"measure one with: nas profile SPACE --runtime onnxruntime --table {path}"
        raise TableError("no such latency table", where=path, hint=hint)
    return path


def refuse_space(path: str | Path) -> None:
    """Raise `TableError` for a YAML file: its search space was probably meant to be given elsewhere."""
    if Path(path).suffix in {".yaml", ".yml"}:
        hint = "give a search space (YAML) as SPACE, and the table (CSV) with --table; are the two swapped?"
        raise TableError("is not a latency table", where=path, hint=hint)


def _csv_path(path: str | Path) -> Path:
    path = Path(path)
    refuse_space(path)
    if path.suffix != ".csv":
        raise TableError("a latency table's name ends in .csv", where=path, hint=f"use {path.with_suffix('.csv').name}")
    return path
