"""The runtimes there are, by name."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from importlib.metadata import entry_points
from typing import Any, cast

from nas.errors import ConfigError
from nas.runtimes.base import Runtime, RuntimeSettings

BUILTIN: dict[str, str] = {
    "onnxruntime": "nas.runtimes.onnx_runtime:OnnxRuntime",
    "torch": "nas.runtimes.torch_runtime:TorchRuntime",
    "coreml": "nas.runtimes.core_ml:CoreMLRuntime",
}

ENTRY_POINT_GROUP = "nas.runtimes"


def runtime_names() -> tuple[str, ...]:
    """Names of all registered runtimes."""
    return tuple(BUILTIN) + tuple(point.name for point in entry_points(group=ENTRY_POINT_GROUP))


def get_runtime(name: str, **options: Any) -> Runtime:
    """The runtime of that name.

    Args:
        name: A name of `runtime_names`.
        options: Keyword arguments of its class; those that are `None` are left at their defaults.

    Raises:
        ConfigError: The name or an option is unknown; the message lists the known ones.
    """
    runtime = _runtime_class(name)
    given = {option: value for option, value in options.items() if value is not None}
    known = inspect.signature(runtime).parameters
    for option in given:
        if option not in known:
            raise ConfigError(f"runtime {name} has no option {option!r} (known: {', '.join(known) or 'none'})")
    return runtime(**given)


def runtime_options(settings: RuntimeSettings) -> dict[str, Any]:
    """The options that `get_runtime` needs for a runtime of these settings."""
    known = inspect.signature(_runtime_class(settings.runtime)).parameters
    values = dataclasses.asdict(settings) | {"deployment_target": settings.opset}
    return {option: value for option, value in values.items() if option in known}


def _runtime_class(name: str) -> type[Runtime]:
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        return cast(type[Runtime], getattr(importlib.import_module(module), attribute))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return cast(type[Runtime], point.load())
    raise ConfigError(f"unknown runtime {name!r} (known: {', '.join(runtime_names())})")
