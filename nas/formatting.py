"""How values stand in tables, on screen and in reports."""

from __future__ import annotations

Cell = str | int | float | None


def cell_text(value: Cell) -> str:
    """One cell: numbers with separators and four digits, `-` for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
