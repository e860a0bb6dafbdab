"""Plain data from JSON, strictly by the standard."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NoReturn

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def load_json(text: str) -> Any:
    """Plain data from JSON text.

    Raises:
        ValueError: It is not JSON, a key is given twice, a number is not finite or too long, or a
            text holds half a character; one line.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
        if _HALF.search(text):  # two halves in a row are a character
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem
    except UnicodeEncodeError as problem:
        half = ord(problem.object[problem.start])
        raise ValueError(f"U+{half:04X} is half a character, which text may not contain") from problem
    except ValueError as problem:
        raise ValueError(" ".join(str(problem).split())) from problem


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"key {twice!r} is given twice")
    return values


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value
