"""Ways to predict the latency of a network, side by side, from the same measurements.

Some need the table alone, some a few fitted networks, some other units than blocks. What `nas` does by default is the
simplest of them that comes as near as a second measurement does; the others are here to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import OneHotEncoder

from nas.latency import LatencyTable, MeasurementSettings
from nas.latency.profiling.networks import measure_plans
from nas.models import network_cost
from nas.runtimes import Runtime
from nas.space import Architecture, Plan, SearchSpace
from nas.space.fragments import cells, chain

Values = NDArray[np.float64]

CHAIN_COPIES = (2, 6)


@dataclass(frozen=True)
class Problem:
    """Networks to fit on, with their latency at the speed of the check, and networks to predict."""

    space: SearchSpace
    table: LatencyTable
    fitted: Sequence[Architecture]
    fitted_ms: Values
    fresh: Sequence[Architecture]


def predictions(problem: Problem) -> dict[str, Values]:
    """Predicted latency of the fresh networks, in milliseconds, by method; nothing is measured."""
    space, table = problem.space, problem.table

    def sums(item: Architecture) -> float:
        return sum(table.latency_ms(node.block) for node in space.lower(item).nodes)

    def macs(item: Architecture) -> float:
        return float(network_cost(space.lower(item)).macs)

    def parameters(item: Architecture) -> float:
        return float(network_cost(space.lower(item)).parameters)

    return {
        "sum of blocks": _values(sums, problem.fresh),
        "MACs regression": _line(problem, macs),
        "parameters regression": _line(problem, parameters),
        "choices regression, no table": _choices(problem),
        "blocks, scale": _factor(problem, sums),
        "blocks, scale and offset": _line(problem, sums),
        "blocks, scale per kind": _kinds(problem),
    }


def measured_units(
    problem: Problem, runtime: Runtime, units: Sequence[str], measurement: MeasurementSettings
) -> dict[str, Values]:
    """Predictions from other units than blocks, which are measured for it: cells, differences or chains."""
    makers = {"cells": _cell_sums, "differences": _difference_sums, "chains": _chain_sums}
    predictions = {}
    for unit in units:
        sums = makers[unit](problem, runtime, measurement)
        predictions[f"{unit}, sum"] = _values(sums, problem.fresh)
        predictions[f"{unit}, scale"] = _factor(problem, sums)
    return predictions


def _values(figure: Callable[[Architecture], float], items: Sequence[Architecture]) -> Values:
    return np.array([figure(item) for item in items])


def _line(problem: Problem, figure: Callable[[Architecture], float]) -> Values:
    """A straight line through the fitted networks."""
    known = _values(figure, problem.fitted)[:, None]
    line = LinearRegression().fit(known, problem.fitted_ms)
    return np.asarray(line.predict(_values(figure, problem.fresh)[:, None]))


def _factor(problem: Problem, figure: Callable[[Architecture], float]) -> Values:
    """One factor, the geometric mean over the fitted networks."""
    ratios = problem.fitted_ms / _values(figure, problem.fitted)
    return _values(figure, problem.fresh) * float(np.exp(np.mean(np.log(ratios))))


def _choices(problem: Problem) -> Values:
    """Ridge regression on the layer of each slot, without any block's latency."""
    encoder = OneHotEncoder(categories=[list(slot.candidates) for slot in problem.space.slots])
    known = encoder.fit_transform([item.choices for item in problem.fitted])
    fresh = encoder.transform([item.choices for item in problem.fresh])
    return np.asarray(Ridge(alpha=0.5).fit(known, problem.fitted_ms).predict(fresh))


def _kinds(problem: Problem) -> Values:
    """A common scale, and for each kind of block a correction that ridge regression keeps small."""
    kinds = sorted({node.block.kind for item in problem.space.covering() for node in problem.space.lower(item).nodes})

    def shares(item: Architecture) -> Values:
        row = np.zeros(len(kinds))
        for node in problem.space.lower(item).nodes:
            row[kinds.index(node.block.kind)] += problem.table.latency_ms(node.block)
        return row

    known, fresh = (
        np.array([shares(item) for item in problem.fitted]),
        np.array([shares(item) for item in problem.fresh]),
    )
    scale = float(np.exp(np.mean(np.log(problem.fitted_ms / known.sum(1)))))
    correction = Ridge(alpha=0.1 * float(np.mean(known**2)), fit_intercept=False)
    correction.fit(known, problem.fitted_ms - scale * known.sum(1))
    return np.asarray(scale * fresh.sum(1) + correction.predict(fresh))


def _measure(
    plans: dict[str, Plan], problem: Problem, runtime: Runtime, measurement: MeasurementSettings, label: str
) -> dict[str, float]:
    reference = problem.space.lower(problem.space.smallest())
    measured = measure_plans(plans, runtime, reference, measurement=measurement, label=label)
    return {name: timing.latency_ms for name, timing in measured.measurements[0].items()}


def _key(plan: Plan) -> str:
    return " + ".join(node.block.key for node in plan.nodes)


def _cell_sums(problem: Problem, runtime: Runtime, measurement: MeasurementSettings) -> Callable[[Architecture], float]:
    """Resnet, attention and temporal layer of a place measured as one."""
    lower = problem.space.lower
    plans = {_key(cell): cell for item in (*problem.fitted, *problem.fresh) for cell in cells(lower(item))}
    found_ms = _measure(plans, problem, runtime, measurement, "cells")
    return lambda item: sum(found_ms[_key(cell)] for cell in cells(lower(item)))


def _difference_sums(
    problem: Problem, runtime: Runtime, measurement: MeasurementSettings
) -> Callable[[Architecture], float]:
    """The smallest network, and what each layer adds to it."""
    space, base = problem.space, problem.space.smallest()
    variants = {
        (index, name): space.architecture([*base.choices[:index], name, *base.choices[index + 1 :]])
        for index, slot in enumerate(space.slots)
        for name in slot.candidates
    }
    plans = {item.id: space.lower(item) for item in variants.values()}
    found_ms = _measure(plans, problem, runtime, measurement, "differences")
    added = {key: found_ms[item.id] - found_ms[base.id] for key, item in variants.items()}
    return lambda item: found_ms[base.id] + sum(added[key] for key in enumerate(item.choices))


def _chain_sums(
    problem: Problem, runtime: Runtime, measurement: MeasurementSettings
) -> Callable[[Architecture], float]:
    """Temporal layers by the slope over two lengths of chains of them, everything else by itself."""
    few, many = CHAIN_COPIES
    blocks = {block.key: block for block in problem.space.placed_blocks().values()}
    plans = {f"{key} x {copies}": chain(block, copies) for key, block in blocks.items() for copies in CHAIN_COPIES}
    found_ms = _measure(plans, problem, runtime, measurement, "chains")
    slope_ms = {key: (found_ms[f"{key} x {many}"] - found_ms[f"{key} x {few}"]) / (many - few) for key in blocks}
    table = problem.table
    return lambda item: sum(
        slope_ms.get(node.block.key) or table.latency_ms(node.block) for node in problem.space.lower(item).nodes
    )
