"""Where a model's operations run, from the system's compute plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ENGINES = {"NeuralEngineDevice": "neural_engine", "GPUDevice": "gpu", "CPUDevice": "cpu"}


@dataclass(frozen=True)
class ComputePlacement:
    """Shares of a model that run on each engine; the shares of `neural_engine`, `gpu` and `cpu` add up to 1.

    Args:
        ops: Shares of the number of operations; `None` if the plan lists none.
        cost: Shares of the plan's estimated cost, which is not a measurement; `None` if it has none.
    """

    ops: dict[str, float] | None
    cost: dict[str, float] | None

    @classmethod
    def of_plan(cls, plan: Any) -> ComputePlacement:
        """The shares in a compute plan of coremltools' client."""
        engines = [_ENGINES[type(info.device_usage.preferred).__name__] for info in plan.infos.values()]
        costs = [float(info.estimated_cost or 0) for info in plan.infos.values()]
        return cls(_shares(engines, [1.0] * len(engines)), _shares(engines, costs))


def _shares(engines: list[str], weights: list[float]) -> dict[str, float] | None:
    total = sum(weights)
    if total <= 0:
        return None
    sums = {
        name: sum(weight for engine, weight in zip(engines, weights, strict=True) if engine == name)
        for name in _ENGINES.values()
    }
    return {name: min(value / total, 1.0) for name, value in sums.items()}
