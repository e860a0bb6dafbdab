"""The errors of estimates as tables for people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table


def as_tables(result: dict[str, Any]) -> Iterable[Table]:
    """The report for people."""
    for title, part in result["sections"].items():
        methods = {name: part["methods"][name] for name in part["methods"]}
        summary = Table(title=f"{title}: {methods['roofline']['models']} latencies", title_justify="left")
        for head in ("", "MAPE %", "Spearman", "within 20%", "within 50%", "worst %"):
            summary.add_column(head, justify="left" if not head else "right")
        for name, each in [*methods.items(), *((f"roofline, {k}", v) for k, v in part["families"].items())]:
            rank = "" if each["spearman"] is None else f"{each['spearman']:.3f}"
            shares = (f"{each[f'within_{share}_percent']:.0%}" for share in (20, 50))
            cells = (f"{each['mape_percent']:.1f}", rank, *shares)
            summary.add_row(name, *cells, f"{each['worst_percent']:.0f}")
        yield summary
        models = Table(title=f"{title}, by model: ms", title_justify="left")
        for head in ("model", "device", "unit", "measured", "estimated", "error %"):
            models.add_column(head, justify="right" if head in ("measured", "estimated", "error %") else "left")
        for row in part["rows"]:
            error = 100 * (row["roofline_ms"] / row["measured_ms"] - 1)
            cells = (f"{row['measured_ms']:.3g}", f"{row['roofline_ms']:.3g}", f"{error:+.0f}")
            models.add_row(row["model"], row["device"], row["compute_unit"], *cells)
        yield models
    if "intervals" in result:
        yield interval_table(result)
        yield coverage_table(result)


def interval_table(result: dict[str, Any]) -> Table:
    """The intervals by compute unit."""
    table = Table(title="Intervals of estimates: estimate divided by and times the factor", title_justify="left")
    for head in ("compute unit", "chip", "factor", "for", "left out", "latencies"):
        table.add_column(head, justify="right" if head in ("factor", "latencies") else "left")
    for name, chips in (("intervals", "of published networks"), ("extrapolated_intervals", "others")):
        for unit, each in result[name].items():
            left = f"{each['groups']} {each['left_out']}"
            cells = (f"{each['factor']:.2f}", f"{each['coverage_percent']}%", left, str(each["latencies"]))
            table.add_row(unit, chips, *cells)
    return table


def coverage_table(result: dict[str, Any]) -> Table:
    """How many latencies lie within their intervals."""
    table = Table(title="Latencies within their interval", title_justify="left")
    for head in ("", "within", "of", "%"):
        table.add_column(head, justify="left" if not head else "right")
    for name, (inside, total) in result["within_intervals"].items():
        if total:
            table.add_row(name, str(inside), str(total), f"{inside / total:.0%}")
    return table
