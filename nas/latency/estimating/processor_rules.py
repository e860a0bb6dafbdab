"""The processor of each operation, by the known placement rules of Core ML.

With `all`, the Neural Engine gets every operation that it does not refuse, even where another processor is faster,
and the GPU gets those that it refuses. Published latencies support the first part. Five networks were published on an
iPhone 14 with all compute units: `all` takes what `cpu_and_ne` takes (within 25%), also for the two that the CPU runs
three times as fast. For Stable Diffusion 2 on an M2 Ultra, `all` took 9.2 s, the Neural Engine 10.0 s and the GPU 4.1
s (huggingface/swift-coreml-diffusers, issue 31). Nothing published shows where refused operations go.
"""

from __future__ import annotations

from typing import Literal

from nas.errors import ConfigError
from nas.latency.estimating.operations import Kind
from nas.runtimes.core_ml.runtime import COMPUTE_UNITS, ComputeUnit

Processor = Literal["neural_engine", "gpu", "cpu"]

# In the order of preference.
_ALLOWED: dict[ComputeUnit, tuple[Processor, ...]] = {
    "all": ("neural_engine", "gpu", "cpu"),
    "cpu_and_ne": ("neural_engine", "cpu"),
    "cpu_and_gpu": ("gpu", "cpu"),
    "cpu_only": ("cpu",),
}

_REFUSED: dict[Processor, frozenset[Kind]] = {
    # Convolutions over three dimensions run on the GPU, since iOS 17 (reported). Sinusoids of timesteps stay in fp32,
    # which the Neural Engine does not compute in. Looking up rows by their numbers is work for the processor.
    "neural_engine": frozenset({"convolution_3d", "sinusoid", "lookup"}),
    "gpu": frozenset({"lookup"}),
    "cpu": frozenset(),
}


def compute_unit(name: str) -> ComputeUnit:
    """The compute unit of that name; raises `ConfigError` with the known ones if there is none."""
    for unit in COMPUTE_UNITS:
        if unit == name:
            return unit
    raise ConfigError(f"no compute unit {name!r} (known: {', '.join(COMPUTE_UNITS)})", where="option --compute-unit")


def home(unit: ComputeUnit) -> Processor:
    """The preferred processor, which gets all operations that it can execute."""
    return _ALLOWED[unit][0]


def place(kind: Kind, unit: ComputeUnit) -> Processor:
    """The processor for an operation of that kind: the first that is allowed and does not refuse it."""
    return next(processor for processor in _ALLOWED[unit] if kind not in _REFUSED[processor])
