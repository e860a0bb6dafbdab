"""Comparing two latency tables row by row, of one device or of two."""

from __future__ import annotations

from dataclasses import dataclass

from nas.latency.tables.rows import LatencyRow
from nas.latency.tables.table import LatencyTable


@dataclass(frozen=True)
class RowDifference:
    """One block in two tables.

    Args:
        key: The block's key.
        kind: The block's kind.
        first_ms: Latency in the first table; `None` if it has none.
        second_ms: Latency in the second table; `None` if it has none.
        ratio: The second over the first, if both are known; 2 means that the second is twice as slow.
        overlap: Whether the two 95% intervals overlap; `None` without two intervals. If they do not, the latencies
            differ by more than the scatter within each measurement explains.
    """

    key: str
    kind: str
    first_ms: float | None
    second_ms: float | None
    ratio: float | None
    overlap: bool | None


def compare_tables(first: LatencyTable, second: LatencyTable) -> tuple[RowDifference, ...]:
    """Compare two tables: the rows of the first in its order, then those that only the second has.

    The tables may be of different devices, runtimes and settings; the comparison then shows how those differ.
    """
    return tuple(_difference(key, first.rows.get(key), second.rows.get(key)) for key in {**first.rows, **second.rows})


def _difference(key: str, first: LatencyRow | None, second: LatencyRow | None) -> RowDifference:
    kind = next(row.kind for row in (first, second) if row is not None)
    first_ms = None if first is None else first.latency_ms
    second_ms = None if second is None else second.latency_ms
    ratio = None if first_ms is None or second_ms is None else second_ms / first_ms
    return RowDifference(key, kind, first_ms, second_ms, ratio, _overlap(first, second))


def _overlap(first: LatencyRow | None, second: LatencyRow | None) -> bool | None:
    ends = [_interval(row) for row in (first, second)]
    known = [end for end in ends if end is not None]
    return None if len(known) < 2 else max(low for low, _ in known) <= min(high for _, high in known)


def _interval(row: LatencyRow | None) -> tuple[float, float] | None:
    if row is None or row.ci_low_ms is None or row.ci_high_ms is None:
        return None
    return row.ci_low_ms, row.ci_high_ms
