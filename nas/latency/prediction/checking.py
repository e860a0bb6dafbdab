"""Checking predictions against measurements of whole networks."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nas.errors import ConfigError
from nas.files import derive_seed
from nas.latency.measuring.settings import MeasurementSettings
from nas.latency.prediction.accuracy import Accuracy, accuracy
from nas.latency.prediction.conditions import matching_runtime
from nas.latency.prediction.fit import FittedNetwork, LatencyFit
from nas.latency.prediction.predictor import LatencyPredictor
from nas.latency.profiling.networks import PlanTimings, measure_plans
from nas.latency.tables.table import LatencyTable
from nas.runtimes import Runtime
from nas.space import Architecture, SearchSpace

MEASURED_AGAIN = 5
"""Number of networks of the fit that a check measures again, at most."""


@dataclass(frozen=True)
class NetworkCheck:
    """One architecture's denoising network, predicted and measured, in milliseconds per call.

    Args:
        architecture: The architecture.
        predicted_unet_ms: The prediction, corrected to the speed of the machine during the check.
        low_ms: Lower end of its 90% prediction interval; `None` without a fit.
        high_ms: Upper end; `None` without a fit.
        measurements_ms: At least one measurement; each has loaded the network anew.
    """

    architecture: Architecture
    predicted_unet_ms: float
    low_ms: float | None
    high_ms: float | None
    measurements_ms: tuple[float, ...]

    @property
    def measured_unet_ms(self) -> float:
        """Mean of the measurements."""
        return float(np.mean(self.measurements_ms))

    @property
    def error(self) -> float:
        """Relative error of the prediction; positive if it is too high."""
        return self.predicted_unet_ms / self.measured_unet_ms - 1

    @property
    def inside(self) -> bool | None:
        """Whether the measured latency lies in the prediction's interval; `None` without one."""
        if self.low_ms is None or self.high_ms is None:
            return None
        return self.low_ms <= self.measured_unet_ms <= self.high_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "architecture": self.architecture.id,
            "predicted_unet_ms": self.predicted_unet_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "measured_unet_ms": self.measured_unet_ms,
            "error_percent": 100 * self.error,
            "measurements_ms": list(self.measurements_ms),
        }


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Args:
        checks: One per architecture.
        slowdown: Ratio of the latencies of the fit's networks now and when the fit was made. A machine is a few
            percent faster in one hour than in the next, so predictions are multiplied by this ratio before they are
            compared. `None` without a fit; predictions are then compared unchanged.
    """

    checks: tuple[NetworkCheck, ...]
    slowdown: float | None = None

    @cached_property
    def accuracy(self) -> Accuracy:
        """Predictions against measured latencies."""
        predicted = [check.predicted_unet_ms for check in self.checks]
        return accuracy(predicted, [check.measured_unet_ms for check in self.checks])

    @cached_property
    def noise(self) -> Accuracy | None:
        """The accuracy of the first measurement as a prediction of the second; no prediction can be much better.

        `None` if networks were measured once.
        """
        measured = [check.measurements_ms for check in self.checks]
        if any(len(times_ms) < 2 for times_ms in measured):
            return None
        return accuracy([times_ms[0] for times_ms in measured], [times_ms[1] for times_ms in measured])

    @property
    def noise_floor(self) -> float | None:
        """Mean absolute relative difference of the first two measurements of a network; `None` as `noise`."""
        return None if self.noise is None else self.noise.mape

    @property
    def coverage(self) -> float | None:
        """Share of measured latencies in their prediction's interval, ideally 90%; `None` without a fit."""
        inside = [check.inside for check in self.checks if check.inside is not None]
        return float(np.mean(inside)) if inside else None

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain data per network."""
        return [check.to_dict() for check in self.checks]

    def summary(self) -> dict[str, float | None]:
        """The figures over all networks, as plain data."""
        return {
            "mape_percent": 100 * self.accuracy.mape,
            "worst_percent": 100 * self.accuracy.worst,
            "within_5_percent": self.accuracy.within_5_percent,
            "within_10_percent": self.accuracy.within_10_percent,
            "spearman": self.accuracy.spearman,
            "noise_floor_percent": None if self.noise_floor is None else 100 * self.noise_floor,
            "coverage": self.coverage,
            "slowdown": self.slowdown,
        }


def fresh_architectures(
    space: SearchSpace, count: int, seed: int, exclude: Collection[Architecture | str] = ()
) -> tuple[Architecture, ...]:
    """Random architectures to check predictions on.

    Args:
        space: The search space.
        count: Number of architectures; fewer if the space does not have that many others.
        seed: Equal seeds give equal architectures.
        exclude: Architectures, or their ids, to leave out, because predictions were fitted to them.

    Returns:
        Distinct architectures, none of them excluded.
    """
    rng = random.Random(derive_seed(seed, "latency check"))
    seen = {excluded if isinstance(excluded, str) else excluded.id for excluded in exclude}
    drawn = space.sample_distinct(rng, min(count + len(seen), space.count()))
    return tuple(architecture for architecture in drawn if architecture.id not in seen)[:count]


def check_networks(
    space: SearchSpace,
    table: LatencyTable,
    runtime: Runtime | None,
    architectures: Sequence[Architecture],
    *,
    fit: LatencyFit | None = None,
    measurement: MeasurementSettings | None = None,
    times: int = 1,
    folder: str | Path | None = None,
) -> CheckReport:
    """Measure whole denoising networks, in turn, and compare them with their predictions.

    A few networks of the fit, from fast to slow, are measured with them, which shows how fast the machine is now.

    Args:
        space: The search space.
        table: The table to check; it must be of this machine.
        runtime: What executes the networks; the table's own runtime when `None`.
        architectures: At least one; `fresh_architectures` draws some.
        fit: The fit that predictions use; without it they are sums of blocks.
        measurement: How precisely to measure; the defaults when left out.
        times: Measurements of each network; two or more show how much measurements differ.
        folder: Folder that keeps converted networks, to be reused; a temporary folder when left out.

    Raises:
        ConfigError: There are no architectures.
        TableError: The table belongs to another machine or runtime, or lacks a block; or the fit does not belong to
            this space and table.
        RuntimeUnavailableError: The runtime cannot measure here.
        OutOfMemoryError: A network does not fit.
    """
    if not architectures:
        hint = "a small space may have none that are not in the fit: fit again with fewer networks"
        raise ConfigError("there are no architectures to check", where=space.where, hint=hint)
    runtime = matching_runtime(table, runtime)
    predictor = LatencyPredictor(space, table, fit=fit)
    predicted = {architecture: predictor.predict(architecture).unet_ms for architecture in architectures}
    again = [] if fit is None else _spread(fit.networks)
    measured = (*architectures, *(space.architecture(network.choices) for network in again))
    plans = {architecture.id: space.lower(architecture) for architecture in measured}
    reference = space.lower(space.smallest())
    results = measure_plans(plans, runtime, reference, measurement=measurement, times=times, folder=folder)
    slowdown = None if fit is None else _slowdown(fit, again, results)
    checks = []
    for architecture in architectures:
        unet_ms = predicted[architecture] * (slowdown or 1.0)
        low_ms, high_ms = (None, None) if fit is None else fit.interval_ms(unet_ms)
        measurements_ms = tuple(timings[architecture.id].latency_ms for timings in results.measurements)
        checks.append(NetworkCheck(architecture, unet_ms, low_ms, high_ms, measurements_ms))
    return CheckReport(tuple(checks), slowdown)


def _spread(networks: Sequence[FittedNetwork]) -> list[FittedNetwork]:
    """Some of the networks, from the fastest to the slowest."""
    ordered = sorted(networks, key=lambda network: network.measured_ms)
    places = np.linspace(0, len(ordered) - 1, min(MEASURED_AGAIN, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def _slowdown(fit: LatencyFit, again: Sequence[FittedNetwork], results: PlanTimings) -> float:
    """Latencies of the fit's networks now over those at the time of the fit: the geometric mean, with the reference.

    One network is not enough. The place of its values in memory makes a difference of a percent each time it is loaded,
    and all predictions would be off by that much.
    """
    ratios = [results.reference_ms / fit.reference_ms]
    for network in again:
        ratios += [timings[network.architecture].latency_ms / network.measured_ms for timings in results.measurements]
    return float(np.exp(np.mean(np.log(ratios))))
