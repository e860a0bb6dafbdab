"""The formats of converted networks, and the runtimes that write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nas.compression import CompressedKind, compressed_kind
from nas.errors import ConfigError
from nas.runtimes import Runtime, get_runtime
from nas.runtimes.registry import RUNTIMES

CONVERTERS = {"onnx": "onnxruntime", "coreml": "coreml", "coreai": "coreai"}
"""Converted formats and the runtimes that write them."""

FORMATS = ("safetensors", *CONVERTERS)

DEFAULT_FORMATS = ("safetensors", "onnx", "coreml")
"""All but those whose converter is in an extra."""


def check_formats(formats: Sequence[str]) -> None:
    """Raise `ConfigError` for a format that is not known, or for none at all."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        got = f"unknown format {unknown[0]!r}" if unknown else "no format given"
        raise ConfigError(f"{got} (known: {', '.join(FORMATS)})", where="formats")


def converters(formats: Sequence[str], options: Mapping[str, Any]) -> dict[str, Runtime]:
    """The runtimes that convert to these formats, each with those options that it has.

    Raises:
        ConfigError: No format has such an option, or stores such weights.
    """
    known = {name: RUNTIMES.get(CONVERTERS[name]).Config.model_fields for name in CONVERTERS if name in formats}
    for option in options:
        if not any(option in fields for fields in known.values()):
            names = ", ".join(dict.fromkeys(name for fields in known.values() for name in fields)) or "none"
            raise ConfigError(f"no format to export has an option {option!r} (known: {names})", where="options")
    return {
        name: get_runtime(CONVERTERS[name], **{key: value for key, value in given.items() if key in known[name]})
        for name, given in _with_weights(known, options).items()
    }


def stored_kind(kind: str | None, formats: Iterable[str]) -> CompressedKind | None:
    """The kind of weights if it is a compressed one that files of some format store; raises as `compressed_kind`."""
    compressed = compressed_kind(kind)
    return compressed if compressed is not None and _storing(compressed).intersection(formats) else None


def _storing(kind: CompressedKind) -> set[str]:
    """The formats whose files store a kind of weights."""
    return {name for name, runtime in CONVERTERS.items() if kind in RUNTIMES.get(runtime).weight_kinds}


def _with_weights(formats: Iterable[str], options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The options for each format, with a compressed kind of weights only where it can be stored."""
    kind = compressed_kind(options.get("weights"))
    if kind is None:
        return dict.fromkeys(formats, options)
    able = _storing(kind)
    if not able.intersection(formats):
        raise ConfigError(f"no format to export stores {kind} weights (those that do: {', '.join(sorted(able))})",
                          where="options")  # fmt: skip
    without = {name: value for name, value in options.items() if name != "weights"}
    return {name: options if name in able else without for name in formats}
