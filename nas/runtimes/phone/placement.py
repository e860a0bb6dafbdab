"""Where a model's operations run, from the plan that the system makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ENGINES = {"NeuralEngineDevice": "neural_engine", "GPUDevice": "gpu", "CPUDevice": "cpu"}


@dataclass(frozen=True)
class ComputePlacement:
    """Shares of a model, each from 0 to 1, that run on each engine; three of one kind make 1.

    Args:
        ops: By number of operations: `neural_engine`, `gpu` and `cpu`; `None` where the plan lists none.
        cost: By the plan's estimate of their cost; `None` where it has none. An estimate is no measurement.
    """

    ops: dict[str, float] | None
    cost: dict[str, float] | None

    @classmethod
    def of_plan(cls, plan: Any) -> ComputePlacement:
        """The shares in a plan of coremltools' client."""
        places = [_ENGINES[type(info.device_usage.preferred).__name__] for info in plan.infos.values()]
        costs = [float(info.estimated_cost or 0) for info in plan.infos.values()]
        return cls(_shares(places, [1.0] * len(places)), _shares(places, costs))


def _shares(places: list[str], weights: list[float]) -> dict[str, float] | None:
    total = sum(weights)
    if total <= 0:
        return None
    sums = {
        engine: sum(weight for place, weight in zip(places, weights, strict=True) if place == engine)
        for engine in _ENGINES.values()
    }
    return {engine: min(value / total, 1.0) for engine, value in sums.items()}
