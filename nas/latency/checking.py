"""Checking predictions: whole networks, measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nas.errors import TableError
from nas.latency.predictor import LatencyPredictor
from nas.latency.profiling import measure_plans, require_available
from nas.latency.table import LatencyTable
from nas.runtimes import Runtime, cpu_model, get_runtime, runtime_options
from nas.space import Architecture, SearchSpace


@dataclass(frozen=True)
class NetworkCheck:
    """One architecture's denoising network, predicted and measured, in milliseconds per call."""

    architecture: Architecture
    predicted_unet_ms: float
    measured_unet_ms: float

    @property
    def error(self) -> float:
        """Relative error of the prediction; positive where it is too high."""
        return self.predicted_unet_ms / self.measured_unet_ms - 1


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Args:
        checks: One per architecture.
        processor_share: See `nas.latency.measuring.Timings`.
    """

    checks: tuple[NetworkCheck, ...]
    processor_share: float

    @property
    def mape(self) -> float:
        """Mean absolute relative error."""
        return float(np.mean([abs(check.error) for check in self.checks]))

    @property
    def worst(self) -> float:
        """Largest absolute relative error."""
        return max(abs(check.error) for check in self.checks)

    @property
    def within_10_percent(self) -> float:
        """Share of networks whose absolute relative error is at most 0.1."""
        return float(np.mean([abs(check.error) <= 0.1 for check in self.checks]))

    @property
    def spearman(self) -> float | None:
        """Rank correlation of predicted and measured latency; `None` where it is not defined."""
        predicted = [check.predicted_unet_ms for check in self.checks]
        measured = [check.measured_unet_ms for check in self.checks]
        if len(set(predicted)) < 2 or len(set(measured)) < 2:
            return None
        return float(stats.spearmanr(predicted, measured).statistic)

    def rows(self) -> list[dict[str, float | str]]:
        """One row of plain data per network."""
        return [
            {
                "architecture": check.architecture.id,
                "predicted_unet_ms": check.predicted_unet_ms,
                "measured_unet_ms": check.measured_unet_ms,
                "error_percent": 100 * check.error,
            }
            for check in self.checks
        ]

    def summary(self) -> dict[str, float | None]:
        """The figures over all networks, as plain data."""
        return {
            "mape_percent": 100 * self.mape,
            "worst_percent": 100 * self.worst,
            "within_10_percent": self.within_10_percent,
            "spearman": self.spearman,
            "processor_share": self.processor_share,
        }


def check_networks(
    space: SearchSpace,
    table: LatencyTable,
    runtime: Runtime | None,
    architectures: Sequence[Architecture],
    *,
    rounds: int = 25,
    min_seconds: float = 2.0,
) -> CheckReport:
    """Measure whole denoising networks, in turn, and compare with the sum of their blocks.

    Args:
        space: The search space.
        table: The table to check; it must be of this machine.
        runtime: What executes the networks; the one the table was measured with when `None`.
        architectures: At least one.
        rounds: Timed calls of each network, at least.
        min_seconds: Time spent on the rounds, at least.

    Raises:
        TableError: The table is of another machine or runtime, or lacks a block.
        RuntimeUnavailableError: The runtime cannot measure here.
    """
    runtime = runtime or table_runtime(table)
    require_available(runtime)
    _check_conditions(table, runtime)
    predictor = LatencyPredictor(space, table)
    predicted = [predictor.predict(architecture).unet_ms for architecture in architectures]
    plans = [space.lower(architecture) for architecture in architectures]
    found = measure_plans(plans, runtime, rounds=rounds, min_seconds=min_seconds, label="measuring networks")
    triples = zip(architectures, predicted, found.timings, strict=True)
    checks = tuple(NetworkCheck(item, unet_ms, timing.latency_ms) for item, unet_ms, timing in triples)
    return CheckReport(checks, found.processor_share)


def table_runtime(table: LatencyTable) -> Runtime:
    """The runtime a table was measured with, with the same settings."""
    return get_runtime(table.metadata.runtime, **runtime_options(table.metadata.settings))


def _check_conditions(table: LatencyTable, runtime: Runtime) -> None:
    if runtime.settings != table.metadata.settings:
        raise TableError(
            f"measured with {table.metadata.settings}, not {runtime.settings}",
            where=table.where,
            hint="leave out the runtime to use the table's own",
        )
    if table.metadata.cpu != cpu_model():
        raise TableError(
            f"measured on {table.metadata.device} ({table.metadata.cpu}), this machine is {cpu_model()}",
            where=table.where,
            hint="check it where it was measured, or profile this machine into another table",
        )
