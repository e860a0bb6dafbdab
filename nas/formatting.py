"""How values are written in tables, on screen and in reports."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

Cell = str | int | float | None

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def cell_text(value: Cell) -> str:
    """The text of a cell: whole numbers with separators, other numbers by `float_text`, `-` for an unknown value."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return float_text(value) if isinstance(value, float) else str(value)


def float_text(value: float) -> str:
    """Four digits, or all digits before the point if these are more; a power of ten beyond fifteen digits."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:,.4g}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number of things: `1 clip`, `2 clips`; `plural` where it is not made with an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def bytes_text(size_bytes: int) -> str:
    """A number of bytes for people, e.g. `1.5 MiB`."""
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def printable(text: str) -> str:
    """Text that is safe to print: control characters except line breaks become backslash escapes."""
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in {"Cc", "Cs"} else ascii(letter)[1:-1]
        for letter in text
    )


def finite_or_null(value: Any) -> Any:
    """Plain data for JSON: numbers that are not finite become `None`, also inside mappings and lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_or_null(inner) for key, inner in value.items()}
    return [finite_or_null(inner) for inner in value] if isinstance(value, list | tuple) else value
