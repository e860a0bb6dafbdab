"""Recognising the YAML files of this project by their keys, for the message where one stands in another's place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

_KINDS = {
    "a search space": {"video", "slots"},
    "the file of a run": {"space", "out"},
    "an architecture": {"space", "layers"},
}


def other_kind(value: Mapping[Any, Any], wanted: Collection[str]) -> str | None:
    """What a file is, if it is clearly something else than what is wanted; `None` if it is not.

    Args:
        value: The content of the file.
        wanted: The keys that the file may have.
    """
    for kind, keys in _KINDS.items():
        if keys <= value.keys() and not keys <= set(wanted):
            return kind
    return None
