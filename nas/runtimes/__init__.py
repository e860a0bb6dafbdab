"""Runtimes: the ways to execute a module. Profiling and export share them, so a conversion is written once."""

from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings, to_arrays
from nas.runtimes.environment import cpu_model, versions
from nas.runtimes.networks import Convertible, block_convertible, plan_convertible, plan_inputs
from nas.runtimes.parity import Parity, compare
from nas.runtimes.registry import get_runtime, runtime_names, runtime_options

__all__ = [
    "Array",
    "Convertible",
    "Executable",
    "Parity",
    "Runtime",
    "RuntimeSettings",
    "block_convertible",
    "compare",
    "cpu_model",
    "get_runtime",
    "plan_convertible",
    "plan_inputs",
    "runtime_names",
    "runtime_options",
    "to_arrays",
    "versions",
]
