"""The kind of weights of latency tables and of a search, which scores the networks whose latencies it reads."""

from __future__ import annotations

from collections.abc import Iterable

from nas.compression import COMPRESSED_KINDS, CompressedKind, WeightKind, weight_format
from nas.errors import ConfigError
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.table import LatencyTable


def kind_for_tables(given: str | None, tables: Iterable[LatencyTable]) -> WeightKind | None:
    """The kind of weights to score architectures with, so that quality and latency are those of one network.

    A table without compressed weights goes with any kind: it may stand in for a phone, with a runtime that has no
    other.

    Args:
        given: The kind that a user asks for.
        tables: The latency tables.

    Returns:
        The kind that is given, or else that of the tables; `None` if neither says one.

    Raises:
        ConfigError: There is no such kind, or a table is for another one.
    """
    kind = None if given is None else weight_format(given).kind
    for table in tables:
        of_table = kind_of_table(table.metadata)
        if of_table is not None and of_table != (kind or of_table):
            hint = f"ask for {of_table} weights, or use a table for {kind} weights"
            raise ConfigError(f"is for {of_table} weights, not {kind}", where=table.where, hint=hint)
        kind = kind or of_table
    return kind


def kind_of_table(metadata: TableMetadata) -> CompressedKind | None:
    """The kind of compressed weights that a table is for; `None` if they are not compressed."""
    recorded = metadata.options.get("weights")  # a runtime of another package may have an option of this name
    return next((kind for kind in COMPRESSED_KINDS if kind == recorded), None)
