"""Runtimes: the ways to execute a module. Profiling and export share them, so a conversion is written once."""

from nas.runtimes.available import available_memory_bytes
from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings, to_arrays
from nas.runtimes.conversion import exported
from nas.runtimes.core_ml_program import OPERATION_GROUPS, CoreMLProgram, operation_group, read_program
from nas.runtimes.devices import Device, devices
from nas.runtimes.environment import affinity, cpu_model, load_average, versions
from nas.runtimes.memory import memory_errors, memory_guard
from nas.runtimes.networks import Convertible, block_convertible, chain_convertible, plan_convertible, plan_inputs
from nas.runtimes.parity import Parity, compare
from nas.runtimes.registry import get_runtime, runtime_names, runtime_options

__all__ = [
    "OPERATION_GROUPS",
    "Array",
    "Convertible",
    "CoreMLProgram",
    "Device",
    "Executable",
    "Parity",
    "Runtime",
    "RuntimeSettings",
    "affinity",
    "available_memory_bytes",
    "block_convertible",
    "chain_convertible",
    "compare",
    "cpu_model",
    "devices",
    "exported",
    "get_runtime",
    "load_average",
    "memory_errors",
    "memory_guard",
    "operation_group",
    "plan_convertible",
    "plan_inputs",
    "read_program",
    "runtime_names",
    "runtime_options",
    "to_arrays",
    "versions",
]
