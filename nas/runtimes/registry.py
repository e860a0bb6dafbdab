"""The registry of runtimes, and runtimes by name and options."""

from __future__ import annotations

from typing import Any

from nas.errors import ConfigError
from nas.files import parse
from nas.registry import Registry
from nas.runtimes.base import Runtime, RuntimeSettings

RUNTIMES: Registry[Runtime] = Registry(
    kind="runtime",
    group="nas.runtimes",
    base="nas.runtimes.base:Runtime",
    builtin={
        "onnxruntime": "nas.runtimes.onnx.runtime:OnnxRuntime",
        "torch": "nas.runtimes.pytorch.runtime:TorchRuntime",
        "coreml": "nas.runtimes.core_ml.runtime:CoreMLRuntime",
        "coreai": "nas.runtimes.core_ai.runtime:CoreAIRuntime",
    },
)


def runtime_names() -> tuple[str, ...]:
    """Names of all registered runtimes."""
    return RUNTIMES.names()


def get_runtime(name: str, **options: Any) -> Runtime:
    """The runtime of that name.

    Args:
        name: A name of `runtime_names`.
        options: Fields of its `Config`; those that are `None` are left at their defaults.

    Raises:
        ConfigError: The name or an option is unknown, and the message lists the known ones; or a value is impossible.
    """
    runtime = RUNTIMES.get(name)
    _check_constructor(name, runtime)
    given = {option: value for option, value in options.items() if value is not None}
    known = runtime.Config.model_fields
    for option in given:
        if option not in known:
            raise ConfigError(f"runtime {name} has no option {option!r} (known: {', '.join(known) or 'none'})")
    return runtime(parse(given, runtime.Config, where=f"runtime {name}"))


def runtime_options(settings: RuntimeSettings) -> dict[str, Any]:
    """The options that `get_runtime` needs for a runtime of these settings."""
    return RUNTIMES.get(settings.runtime).options(settings)


def _check_constructor(name: str, runtime: type[Runtime]) -> None:
    """Refuse a runtime that takes its options as arguments of its constructor, as it did before `Config`."""
    if runtime.__init__ is not Runtime.__init__ and runtime.Config is Runtime.Config:
        hint = "declare its options in a nested Config, see nas.runtimes.Runtime, or use the package's next release"
        raise ConfigError(f"runtime {name} has a constructor of its own and no Config", hint=hint)
