"""How long the simulated phone takes: a formula that was made up, and means nothing outside the tests.

One call takes a fixed time for each engine that takes part, and for each operation a time that depends on its
type, its multiplications and its bytes. So a chain of K copies of a block takes a fixed time plus K times the
block.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.phone.desk import Record

UNITS = {
    "CPU_ONLY": ("cpu",),
    "CPU_AND_GPU": ("gpu", "cpu"),
    "CPU_AND_NE": ("neuralEngine", "cpu"),
    "ALL": ("neuralEngine", "gpu", "cpu"),
}
_CORES = 16


class _Engine(NamedTuple):
    dispatch_ms: float
    operation_ms: float
    products_per_ms: float
    bytes_per_ms: float


_ENGINES = {
    "cpu": _Engine(0.05, 0.04, 4e6, 2e6),
    "gpu": _Engine(0.30, 0.03, 2e7, 4e6),
    "neuralEngine": _Engine(0.20, 0.02, 5e7, 5e6),
}
# Made up too, after what is known of the Neural Engine: it takes tensors of up to four dimensions.
_NOT_ON_NEURAL_ENGINE = frozenset({"sin", "cos", "gather", "range_1d", "shape"})


def supported(operation: Record, units: str) -> list[str]:
    """Engines that can run an operation, the preferred one first."""
    fits = operation["rank"] <= 4 and operation["type"] not in _NOT_ON_NEURAL_ENGINE
    return [engine for engine in UNITS[units] if fits or engine != "neuralEngine"]


def operation_ms(operation: Record, units: str) -> float:
    """Time that one operation takes, without the fixed time of a call."""
    engine = _ENGINES[supported(operation, units)[0]]
    work_ms: float = operation["products"] / engine.products_per_ms + operation["bytes"] / engine.bytes_per_ms
    return engine.operation_ms + work_ms


def latency_ms(operations: list[Record], units: str) -> float:
    """Time of one call, without noise."""
    engines = {supported(operation, units)[0] for operation in operations}
    dispatch_ms = sum(_ENGINES[engine].dispatch_ms for engine in engines)
    total_ms: float = dispatch_ms + sum(operation_ms(operation, units) for operation in operations)
    return total_ms


def load_ms(program: Record) -> float:
    """Time to load a model, without noise."""
    weight_bytes: int = program["weight_bytes"]
    return 40 + 0.2 * len(program["operations"]) + weight_bytes / 1e6


def noise(seed: int, what: str, spread: float) -> float:
    """A factor near 1, the same whenever the same thing is asked."""
    return max(0.5, random.Random(f"{seed} {what}").gauss(1, spread))


def jitter_ms(seed: int, what: str, spread_ms: float) -> float:
    """What a call takes longer than it should however short it is, the same whenever the same thing is asked."""
    return abs(random.Random(f"{seed} {what}").gauss(0, spread_ms))


def usages(operations: list[Record], units: str) -> list[Record]:
    """Where operations run and what they are estimated to cost, in the words of the protocol."""
    total_ms = sum(operation_ms(operation, units) for operation in operations)
    result = []
    for operation in operations:
        engines = [_device(engine) for engine in supported(operation, units)]
        cost = operation_ms(operation, units) / total_ms
        result.append({"deviceUsage": {"preferred": engines[0], "supported": engines}, "estimatedCost": cost})
    return result


def _device(engine: str) -> Record:
    return {engine: {"totalCoreCount": _CORES} if engine == "neuralEngine" else {}}
