"""Differences between latency tables, as cells to print and as plain data for scripts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from nas.formatting import Cell, cell_text
from nas.latency.tables.comparing import RowDifference
from nas.latency.tables.merging import Superseded
from nas.report.latency_rows import moment_text


def difference_cells(differences: Iterable[RowDifference]) -> list[dict[str, Cell]]:
    """Rows of two tables side by side, to read, numbered for `nas.report.latency_rows.key_cells`."""
    return [
        {
            "#": number,
            "kind": row.kind,
            "first_ms": row.first_ms,
            "second_ms": row.second_ms,
            "ratio": row.ratio,
            "intervals": {None: None, True: "overlap", False: "apart"}[row.overlap],
        }
        for number, row in enumerate(differences, start=1)
    ]


def difference_data(differences: Sequence[RowDifference]) -> dict[str, Any]:
    """Two tables compared, as plain data: block by block, and over the blocks that both have a latency of."""
    ratios = [row.ratio for row in differences if row.ratio is not None]
    return {
        "median_ratio": statistics.median(ratios) if ratios else None,
        "compared": len(ratios),
        "apart": sum(row.overlap is False for row in differences),
        "blocks": [asdict(row) for row in differences],
    }


def superseded_lines(superseded: Iterable[Superseded]) -> list[str]:
    """The replaced rows of a merge, a line each: the kept and the dropped row, with date and file."""
    return [
        f"kept {_origin(row.kept_ms, row.kept_at, row.kept_from)}, "
        f"dropped {_origin(row.dropped_ms, row.dropped_at, row.dropped_from)}: {row.key}"
        for row in superseded
    ]


def superseded_data(superseded: Iterable[Superseded]) -> list[dict[str, Cell]]:
    """The same as plain data."""
    return [{name: _plain(value) for name, value in asdict(row).items()} for row in superseded]


def _origin(latency_ms: float | None, measured_at: datetime | None, file: Path | None) -> str:
    latency = "no latency" if latency_ms is None else f"{cell_text(latency_ms)} ms"
    return f"{latency} of {moment_text(measured_at) if measured_at else 'unknown date'} in {file}"


def _plain(value: datetime | Path | float | str | None) -> Cell:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
