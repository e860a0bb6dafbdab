"""Numbers by one rule everywhere: decimal, finite, of 64 bits, and neither a boolean nor text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

INT64 = 2**63
"""Whole numbers are below this and at least minus this, as torch, numpy and files need them."""

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LONGEST = 4000

_STRICT = frozenset({"int", "float", "bool", "str"})
_DATA = frozenset({"default", "expected", "metadata", "serialization"})


def decimal_int(text: str) -> int:
    """A whole number from text.

    Raises:
        ValueError: It is not written in ASCII decimal digits alone, or does not fit into 64 bits.
    """
    if not _INT.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number in decimal digits")
    value = int(text) if len(text) <= _LONGEST else INT64
    if not -INT64 <= value < INT64:
        raise ValueError(f"{text[:40]} does not fit into 64 bits")
    return value


def decimal_float(text: str) -> float:
    """A finite number from text.

    Raises:
        ValueError: It is not written in ASCII decimal digits, with a point and an exponent at most, or is not finite.
    """
    if not _FLOAT.fullmatch(text):
        raise ValueError(f"{text!r} is not a finite number in decimal digits")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value


def strict_scalars(schema: Any) -> Any:
    """Make the scalars of a pydantic core schema strict, in place.

    Text and booleans are not numbers, and `5.0` is not a whole number. A whole number is accepted as a number, and a
    list as a tuple. Times are written as text. Whole numbers have 64 bits.

    Returns:
        The schema.
    """
    if isinstance(schema, list):
        for place, part in enumerate(schema):
            schema[place] = strict_scalars(part)
    elif isinstance(schema, tuple):  # a choice of a union, with its label
        return tuple(strict_scalars(part) for part in schema)
    elif isinstance(schema, dict):
        for name in schema.keys() - _DATA:
            schema[name] = strict_scalars(schema[name])
        return _tightened(schema)
    return schema


def _tightened(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if not isinstance(kind, str):
        return schema
    if kind in _STRICT:
        schema["strict"] = True
    if kind == "int":
        _bound(schema)
    if kind == "literal" and any(type(value) is int for value in schema["expected"]):
        return _after(_whole, schema)
    if kind == "datetime":
        return _after(_written_time, schema)
    return schema


def _bound(schema: dict[str, Any]) -> None:
    if not schema.keys() & {"le", "lt"}:
        schema["le"] = INT64 - 1
    if not schema.keys() & {"ge", "gt"}:
        schema["ge"] = -INT64


def _after(check: Callable[[Any], Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function-before", "function": {"type": "no-info", "function": check}, "schema": schema}


def _whole(value: Any) -> Any:
    """Refuse values that Python treats as equal to a whole number."""
    if isinstance(value, bool | float):
        raise ValueError(f"expected a whole number; got {value!r}")
    return value


def _written_time(value: Any) -> Any:
    """Refuse seconds since 1970."""
    if isinstance(value, bool | int | float) or (isinstance(value, str) and _FLOAT.fullmatch(value)):
        raise ValueError(f"expected a time such as 2030-01-31T12:00:00Z; got {value!r}")
    return value
