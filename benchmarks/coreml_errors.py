"""How far estimates are off on published latencies, seen in the calibration and left out of it, and their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from coreml_intervals import coverage, intervals, known_chips, noise
from coreml_rows import Row
from scipy.stats import spearmanr

from nas.latency.estimating.calibration import calibrate
from nas.latency.estimating.roofline import Constants

FAMILIES = "families left out, Neural Engine"
ENGINE_CHIPS = "chips left out, Neural Engine"
GPU_CHIPS = "chips left out, GPU"
GPU_NETWORKS = "networks left out, GPU of a phone"
CPU_NETWORKS = "networks left out, CPU"
CHIPS = "chips left out, UNets and decoders on the Neural Engine"
NEURAL_ENGINE = ("all", "cpu_and_ne")

Predict = Callable[[Row], float]
Method = Callable[[Sequence[Row]], Predict]


def fitted(rows: Sequence[Row]) -> Constants:
    """The constants calibrated on these rows. A family counts as the square root of its number of rows."""
    counts = Counter((row.family, row.unit) for row in rows)
    return calibrate([replace(row.observation, weight=counts[row.family, row.unit] ** -0.5) for row in rows])


def roofline(rows: Sequence[Row]) -> Predict:
    """The estimator, calibrated on these rows."""
    constants = fitted(rows)
    return lambda row: row.observation.latency_ms * (1 + row.observation.error(constants))


def proportional(figure: Callable[[Row], float]) -> Method:
    """One factor on one figure, the median of the rows it is fitted to."""

    def fit(rows: Sequence[Row]) -> Predict:
        # Real networks where the phone runs them best: the others would only make the comparison easier.
        seen = [row for row in rows if row.kind != "synthetic" and row.unit in NEURAL_ENGINE] or rows
        factor = float(np.median([row.observation.latency_ms / figure(row) for row in seen]))
        return lambda row: factor * figure(row)

    return fit


METHODS: dict[str, Method] = {
    "roofline": roofline,
    "macs": proportional(lambda row: row.gmacs),
    "parameters": proportional(lambda row: row.parameters_m),
}


def on_holdout(rows: Sequence[Row], held_out: Sequence[Row], method: Method) -> list[float]:
    """Predictions for rows that were not seen."""
    predict = method(rows)
    return [predict(row) for row in held_out]


def left_out(rows: Sequence[Row], method: Method, group: Callable[[Row], str], only: Callable[[Row], bool]) -> Any:
    """Predictions for each group from all others: the rows that `only` picks, and their predictions."""
    wanted = [row for row in rows if only(row)]
    predicted: dict[int, float] = {}
    for name in dict.fromkeys(map(group, wanted)):
        rest = [row for row in rows if group(row) != name]
        if not rest:
            continue
        predict = method(rest)
        predicted |= {id(row): predict(row) for row in wanted if group(row) == name}
    chosen = [row for row in wanted if id(row) in predicted]
    return chosen, [predicted[id(row)] for row in chosen]


def figures(rows: Sequence[Row], predicted_ms: Sequence[float]) -> dict[str, Any]:
    """Mean absolute percentage error, Spearman's rank correlation, share within 20%."""
    measured = np.array([row.observation.latency_ms for row in rows])
    errors = np.abs(np.array(predicted_ms) / measured - 1)
    # Nothing has a rank among two, or where all are equal.
    ranked = len(rows) > 2 and min(len(set(predicted_ms)), len(set(measured))) > 1
    rank = float(spearmanr(predicted_ms, measured)[0]) if ranked else None
    return {
        "models": len(rows),
        "mape_percent": 100 * float(errors.mean()),
        "spearman": rank,
        "within_20_percent": float((errors <= 0.2).mean()),
        "within_50_percent": float((errors <= 0.5).mean()),
        "worst_percent": 100 * float(errors.max()),
    }


def section(rows: Sequence[Row], predicted: dict[str, Sequence[float]]) -> dict[str, Any]:
    """What is reported of one set of rows: each method's figures, by family too, and each model."""
    families = list(dict.fromkeys(row.family for row in rows))
    chosen = {family: [index for index, row in enumerate(rows) if row.family == family] for family in families}
    diffusion = [index for index, row in enumerate(rows) if row.kind == "diffusion"]
    if 0 < len(diffusion) < len(rows):
        chosen["UNets and decoders"] = diffusion
    return {
        "methods": {name: figures(rows, values) for name, values in predicted.items()},
        "families": {
            family: figures([rows[index] for index in places], [predicted["roofline"][index] for index in places])
            for family, places in chosen.items()
        },
        "rows": [
            {
                "model": row.model,
                "device": row.device,
                "compute_unit": row.unit,
                "family": row.family,
                "chip": row.chip,
                "variant": row.variant,
                "measured_ms": row.observation.latency_ms,
                **{f"{name}_ms": values[index] for name, values in predicted.items()},
            }
            for index, row in enumerate(rows)
        ],
    }


LeftOut = dict[str, tuple[list[Row], list[float]]]


def all_left_out(rows: Sequence[Row], group: Callable[[Row], str], only: Callable[[Row], bool]) -> LeftOut:
    """`left_out` with each method."""
    return {name: left_out(rows, method, group, only) for name, method in METHODS.items()}


def left_out_section(results: LeftOut, kind: str | None = None) -> dict[str, Any] | None:
    """`section` of what was left out, or of one kind of it; `None` where there is nothing."""
    chosen = [index for index, row in enumerate(results["roofline"][0]) if kind in (None, row.kind)]
    kept = [results["roofline"][0][index] for index in chosen]
    predicted = {name: [values[index] for index in chosen] for name, (_, values) in results.items()}
    return section(kept, predicted) if kept else None


def by_file(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """`section` of each file, calibrated on the others; empty if there is one file."""
    sections = {}
    for file in dict.fromkeys(row.file for row in rows):
        chosen, rest = ([row for row in rows if (row.file == file) == own] for own in (True, False))
        if rest:
            predicted = {name: on_holdout(rest, chosen, method) for name, method in METHODS.items()}
            sections[f"{file}, calibrated on the others"] = section(chosen, predicted)
    return sections


def report(rows: Sequence[Row], held_out: Sequence[Row]) -> dict[str, Any]:
    """Everything that is printed."""

    def on_engine(row: Row) -> bool:
        return row.kind != "synthetic" and row.unit in NEURAL_ENGINE

    def on_gpu(row: Row) -> bool:
        return row.kind != "synthetic" and row.unit == "cpu_and_gpu"

    def on_phone_gpu(row: Row) -> bool:
        return row.kind == "synthetic" and row.unit == "cpu_and_gpu"

    engine_chips = all_left_out(rows, lambda row: row.chip, on_engine)
    sections = {
        "calibrated on": section(rows, {name: on_holdout(rows, rows, method) for name, method in METHODS.items()}),
        FAMILIES: left_out_section(all_left_out(rows, lambda row: row.family, on_engine)),
        CHIPS: left_out_section(engine_chips, "diffusion"),
        ENGINE_CHIPS: left_out_section(engine_chips),
        GPU_CHIPS: left_out_section(all_left_out(rows, lambda row: f"{row.chip}, {row.unit}", on_gpu)),
        GPU_NETWORKS: left_out_section(all_left_out(rows, lambda row: row.model, on_phone_gpu)),
        CPU_NETWORKS: left_out_section(all_left_out(rows, lambda row: row.model, lambda row: row.unit == "cpu_only")),
        **by_file(rows),
    }
    for kind in dict.fromkeys(row.kind for row in held_out):
        chosen = [row for row in held_out if row.kind == kind]
        predicted = {name: on_holdout(rows, chosen, method) for name, method in METHODS.items()}
        sections[f"holdout, {kind}"] = section(chosen, predicted)
    shown = {name: part for name, part in sections.items() if part is not None}
    return {"constants": fitted(rows).model_dump(), "sections": shown, **interval_report(shown)}


def chip_counts(rows: Sequence[Row]) -> dict[str, int]:
    """Number of latencies of each chip."""
    chips = [row.chip for row in rows]
    return {name: chips.count(name) for name in sorted(set(chips))}


def interval_report(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The intervals, how many latencies lie within, and by how much published latencies differ."""
    plain = sections["calibrated on"]["rows"]
    held_out_plain = [row for name, part in sections.items() if name.startswith("holdout") for row in part["rows"]]
    found: dict[str, Any] = {"published_twice": noise([*plain, *held_out_plain])}
    if not {FAMILIES, ENGINE_CHIPS} <= sections.keys():
        return found
    gpu, phone_gpu, cpu = (sections.get(name) for name in (GPU_CHIPS, GPU_NETWORKS, CPU_NETWORKS))
    known, other = intervals(plain, sections[FAMILIES], sections[ENGINE_CHIPS], gpu, phone_gpu, cpu)
    chips = known_chips(sections[FAMILIES], gpu, cpu)
    covered = {name: coverage(part, known, other, chips) for name, part in sections.items()}
    named = (("intervals", known), ("extrapolated_intervals", other))
    dumped = {name: {unit: each.model_dump() for unit, each in values.items()} for name, values in named}
    return {
        **found,
        **dumped,
        "interval_chips": chips,
        "within_intervals": {name: list(each) for name, each in covered.items()},
    }
