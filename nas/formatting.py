"""How values stand in tables, on screen and in reports."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any

Cell = str | int | float | None

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def cell_text(value: Cell) -> str:
    """One cell: whole numbers with separators, others as `float_text`, `-` for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return float_text(value) if isinstance(value, float) else str(value)


def float_text(value: float) -> str:
    """Four digits, or all before the point where these are more; beyond fifteen, a power of ten."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:,.4g}"


def bytes_text(size_bytes: int) -> str:
    """A number of bytes to read, e.g. `1.5 MiB`."""
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def printable(text: str) -> str:
    """Text without what a terminal takes for a command: control characters but line breaks, as backslash escapes."""
    return "".join(
        one if one == "\n" or unicodedata.category(one) not in {"Cc", "Cs"} else ascii(one)[1:-1] for one in text
    )


def finite_or_null(value: Any) -> Any:
    """Plain data as JSON can hold it: a number that is not finite becomes `None`, in mappings and lists, too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_or_null(each) for key, each in value.items()}
    return [finite_or_null(each) for each in value] if isinstance(value, list | tuple) else value
