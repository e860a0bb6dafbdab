"""Options of extensions on the command line: `--runtime-option key=value`, given as often as there are keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def key_values(texts: Iterable[str], option: str) -> dict[str, Any]:
    """What `key=value` texts say; a value is read as in a YAML file, so that `threads=4` is a number.

    Args:
        texts: The texts, as given.
        option: The option's name, for messages.

    Raises:
        ConfigError: A text is not of that form, or a key is given twice.
    """
    from nas.errors import ConfigError
    from nas.validation import load_plain

    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and key.strip()):
            raise ConfigError(f"expected key=value, got {text!r}", where=option)
        if key.strip() in values:
            raise ConfigError(f"{key.strip()} is given twice", where=option)
        try:
            values[key.strip()] = load_plain(value)
        except ValueError as problem:
            raise ConfigError(f"{key.strip()}: {problem}", where=option) from problem
    return values
