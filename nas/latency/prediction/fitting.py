"""Fitting a latency table to whole networks: choosing the networks, and measuring them."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np

from nas.files import derive_seed
from nas.latency.measuring.settings import FitMeasurementSettings, MeasurementSettings
from nas.latency.prediction.conditions import matching_runtime
from nas.latency.prediction.fit import FittedNetwork, LatencyFit
from nas.latency.prediction.linear_fit import require_enough
from nas.latency.prediction.predictor import LatencyPredictor
from nas.latency.profiling.networks import measure_plans
from nas.latency.tables.table import LatencyTable
from nas.runtimes import Runtime
from nas.space import Architecture, SearchSpace

logger = logging.getLogger(__name__)

LOOSE_PERCENT = 20.0
"""A fit with a wider interval comes with a warning; on an idle machine it is about 1%."""

POOL = 512
"""Number of random architectures from which those to measure are chosen."""


def fit_architectures(
    space: SearchSpace, predictor: LatencyPredictor, count: int, seed: int
) -> tuple[Architecture, ...]:
    """Random architectures from fast to slow.

    They are taken at equal distances from a larger random sample, sorted by predicted latency, with its fastest and its
    slowest architecture. So the fit holds over all of that range.

    Args:
        space: The search space.
        predictor: Predicts its latencies.
        count: Number of architectures; the whole space if it has fewer.
        seed: Equal seeds give equal architectures.

    Returns:
        Distinct architectures, the fastest first.

    Raises:
        TableError: A block of the space is not in the predictor's table.
    """
    rng = random.Random(derive_seed(seed, "latency fit"))
    pool = space.sample_distinct(rng, min(max(POOL, count), space.count()))
    order = np.argsort(predictor.predict_many(pool), kind="stable")
    places = np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int)
    return tuple(pool[place] for place in order[places])


def fit_networks(
    space: SearchSpace,
    table: LatencyTable,
    runtime: Runtime | None,
    *,
    networks: int = 10,
    seed: int = 0,
    measurement: MeasurementSettings | None = None,
    folder: str | Path | None = None,
) -> LatencyFit:
    """Measure whole denoising networks, in turn, and fit the sums of their blocks to them.

    Args:
        space: The search space.
        table: Latencies of its blocks; it must be of this machine.
        runtime: What executes the networks; the table's own runtime when `None`.
        networks: Number of networks, at least 3; the whole space if it has fewer.
        seed: Equal seeds give equal networks.
        measurement: How precisely to measure; `FitMeasurementSettings` when left out.
        folder: Folder that keeps converted networks, to be reused; a temporary folder when left out.

    Returns:
        The fit; `LatencyFit.save` writes it beside the table.

    Raises:
        ConfigError: There are fewer than 3 networks.
        TableError: The table belongs to another machine or runtime, or lacks a block.
        RuntimeUnavailableError: The runtime cannot measure here.
        OutOfMemoryError: A network does not fit.
    """
    require_enough(min(networks, space.count()))
    runtime = matching_runtime(table, runtime)
    predictor = LatencyPredictor(space, table)
    chosen = fit_architectures(space, predictor, networks, seed)
    settings = measurement or FitMeasurementSettings()
    plans = {architecture.id: space.lower(architecture) for architecture in chosen}
    measured = measure_plans(plans, runtime, space.lower(space.smallest()), measurement=settings, folder=folder)
    (timings,) = measured.measurements
    fit = LatencyFit.of(
        space,
        table,
        [
            FittedNetwork(
                architecture=architecture.id,
                choices=architecture.choices,
                sum_ms=predictor.predict(architecture).unet_ms,
                measured_ms=timings[architecture.id].latency_ms,
            )
            for architecture in chosen
        ],
        measured.reference_ms,
    )
    if fit.interval_percent > LOOSE_PERCENT:
        logger.warning(
            "networks differ from the sums of their blocks by +-%.0f%%: predictions say little. Measure again when the "
            "machine is idle, blocks and networks", fit.interval_percent,
        )  # fmt: skip
    return fit
