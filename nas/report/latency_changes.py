"""What differs between latency tables, as cells to read and as plain data for scripts."""

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
            "kind": each.kind,
            "first_ms": each.first_ms,
            "second_ms": each.second_ms,
            "ratio": each.ratio,
            "intervals": {None: None, True: "overlap", False: "apart"}[each.overlap],
        }
        for number, each in enumerate(differences, start=1)
    ]


def difference_data(differences: Sequence[RowDifference]) -> dict[str, Any]:
    """Two tables compared, as plain data: block by block, and over the blocks that both have a latency of."""
    ratios = [each.ratio for each in differences if each.ratio is not None]
    return {
        "median_ratio": statistics.median(ratios) if ratios else None,
        "compared": len(ratios),
        "apart": sum(each.overlap is False for each in differences),
        "blocks": [asdict(each) for each in differences],
    }


def superseded_lines(superseded: Iterable[Superseded]) -> list[str]:
    """Rows that gave way in a merge, one line each: what was kept and what dropped, when measured, from where."""
    return [
        f"kept {_origin(each.kept_ms, each.kept_at, each.kept_from)}, "
        f"dropped {_origin(each.dropped_ms, each.dropped_at, each.dropped_from)}: {each.key}"
        for each in superseded
    ]


def superseded_data(superseded: Iterable[Superseded]) -> list[dict[str, Cell]]:
    """The same as plain data."""
    return [{name: _plain(value) for name, value in asdict(each).items()} for each in superseded]


def _origin(latency_ms: float | None, measured_at: datetime | None, file: Path | None) -> str:
    latency = "no latency" if latency_ms is None else f"{cell_text(latency_ms)} ms"
    return f"{latency} of {moment_text(measured_at) if measured_at else 'unknown date'} in {file}"


def _plain(value: datetime | Path | float | str | None) -> Cell:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
