"""The errors of estimates without a device, on published latencies of real phones, pads and Macs.

    python benchmarks/coreml_estimate.py --measured CSV [--measured CSV ...] [--holdout CSV ...] [--json]

The constants of the roofline are calibrated on the files after --measured. They are tested on families of networks, on
devices and, for the GPU, on chips that are left out of these in turn, and on the files after --holdout. For comparison,
latencies are also predicted from multiply-accumulates alone and from parameters alone, each with one factor that is
fitted to the same rows.

From the errors for what was left out follow the intervals of estimates, one for each compute unit. How many latencies
lie within is printed for the held-out rows, and for each file after --measured, calibrated on the others.

A CSV needs the columns device, os, compute_unit, model, variant and latency_ms. Rows whose model or device is not
known, and those with a reason in the column set_aside, are listed and left out. `--write` saves the constants for
`nas latency estimate`.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

import coreml_models  # isort: skip  # before anything that imports diffusers
from coreml_intervals import coverage, intervals, known_chips, noise
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from nas.errors import ConfigError, NasError
from nas.latency.estimating.calibration import Observation, calibrate
from nas.latency.estimating.chips import get_phone
from nas.latency.estimating.constants import CONSTANTS_FILE, Calibration
from nas.latency.estimating.operations import AttentionLowering, operations
from nas.latency.estimating.processor_rules import COMPUTE_UNITS
from nas.latency.estimating.roofline import Constants, Workload

FAMILIES = "families left out, Neural Engine"
ENGINE_CHIPS = "chips left out, Neural Engine"
GPU_CHIPS = "chips left out, GPU"
GPU_NETWORKS = "networks left out, GPU of a phone"
CPU_NETWORKS = "networks left out, CPU"
CHIPS = "chips left out, UNets and decoders on the Neural Engine"
NEURAL_ENGINE = ("all", "cpu_and_ne")
COLUMNS = ("device", "os", "compute_unit", "model", "variant", "latency_ms")


@dataclass(frozen=True)
class Row:
    """A published latency with the counts of its network.

    Args:
        model: Name of the network.
        device: Name of the device.
        unit: Compute unit it was allowed to use.
        family: Family of the network.
        kind: `image`, `text`, `diffusion` or `synthetic`.
        observation: The observation for the calibration.
        gmacs: Multiply-accumulates, in 10^9.
        parameters_m: Weights, in 10^6.
        variant: How it was converted, as published.
        file: Where it was read from.
    """

    model: str
    device: str
    unit: str
    family: str
    kind: str
    observation: Observation
    gmacs: float
    parameters_m: float
    variant: str = ""
    file: str = ""

    @property
    def chip(self) -> str:
        """Name of the chip."""
        return self.observation.chip.name


Predict = Callable[[Row], float]
Method = Callable[[Sequence[Row]], Predict]


def read(paths: Sequence[Path]) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows of several CSV files, and those left out with the reason."""
    parts = [read_file(path) for path in paths]
    return [row for rows, _ in parts for row in rows], [row for _, skipped in parts for row in skipped]


def read_file(path: Path) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows of a CSV file, and those left out with the reason."""
    if not path.is_file():
        raise ConfigError("no such file", where=path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ConfigError(f"column {missing[0]!r} is missing", where=path, hint=f"needed are {', '.join(COLUMNS)}")
    rows: list[Row] = []
    skipped: list[dict[str, str]] = []
    for line, record in enumerate(table.to_dict("records"), start=2):
        row = row_of(record, f"{path}: line {line}")
        if isinstance(row, str):
            skipped.append({"model": record["model"], "device": record["device"], "reason": row})
        else:
            rows.append(replace(row, file=path.name))
    if not rows:
        raise ConfigError("no row has a model and a device that are known", where=path)
    return rows, skipped


def row_of(record: dict[str, str], where: str) -> Row | str:
    """A row of the CSV; the reason where it has to be left out."""
    if record.get("set_aside"):
        return record["set_aside"]
    unit = re.sub(r"\(.*", "", record["compute_unit"]).strip().lower() or "all"
    if unit not in COMPUTE_UNITS:
        return f"compute unit {record['compute_unit']!r} is not known"
    try:
        chip = get_phone(re.sub(r"^Mac[A-Za-z ]+", "Mac ", record["device"])).chip
    except ConfigError:
        return "nothing is known of its chip"
    network = counted(
        record["model"], record["variant"] if "UNet" in record["model"] or "only" in record["variant"] else ""
    )
    if network is None:
        return "the model is not known"
    try:
        latency_ms = float(record["latency_ms"])
    except ValueError:
        raise ConfigError(f"latency_ms is {record['latency_ms']!r}, expected a number", where=where) from None
    network_operations, family, kind, gmacs, parameters_m = network
    workload = Workload(network_operations, unit, weight_bits(record["variant"]))
    observation = Observation(workload, chip, latency_ms, spread_ms(record))
    return Row(
        record["model"], record["device"], unit, family, kind, observation, gmacs, parameters_m, record["variant"]
    )


@cache
def counted(name: str, variant: str) -> tuple[Any, str, str, float, float] | None:
    """The operations of a network, its family and kind, its GMACs and millions of parameters."""
    network = coreml_models.build(name, variant)
    if network is None:
        return None
    counted = operations(network.module, network.inputs, lowering(variant))
    parameters = sum(parameter.numel() for parameter in network.module.parameters())
    gmacs = sum(operation.macs for operation in counted) / 1e9
    return counted, network.family, network.kind, gmacs, parameters / 1e6


def lowering(variant: str) -> AttentionLowering:
    """How a variant writes attention: as one operation, head by head, or also with its queries in pieces.

    Apple's SPLIT_EINSUM takes the heads apart, and its second version cuts queries into pieces of 512.
    """
    text = variant.upper()
    if match := re.search(r"CHUNK (\d+)", text):
        return AttentionLowering(heads_apart=True, queries_at_once=int(match[1]))
    if "SPLIT_EINSUM_V2" in text or ("BATCH 1" in text and "NO QUERY CHUNKING" not in text):
        return AttentionLowering(heads_apart=True, queries_at_once=512)
    return AttentionLowering(heads_apart="SPLIT_EINSUM" in text or "NO QUERY CHUNKING" in text)


def weight_bits(variant: str) -> float:
    """Bits of a weight: those that the variant begins with or names as its weights, else 16."""
    if variant.lower().startswith("w8") or "int8 weights" in variant:
        return 8
    match = re.match(r"(\d+(?:\.\d+)?)[- ]?bit", variant, re.IGNORECASE)
    return float(match[1]) if match else 16


def spread_ms(record: dict[str, str]) -> float:
    """The published standard deviation; half of the last digit of the latency where there is none."""
    given, digits = record.get("std_ms", ""), record["latency_ms"].partition(".")[2]
    return float(given) if given else 0.5 * 10 ** -len(digits)


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


def as_tables(result: dict[str, Any]) -> Iterable[Table]:
    """The report for people."""
    for title, part in result["sections"].items():
        methods = {name: part["methods"][name] for name in part["methods"]}
        summary = Table(title=f"{title}: {methods['roofline']['models']} latencies", title_justify="left")
        for head in ("", "MAPE %", "Spearman", "within 20%", "within 50%", "worst %"):
            summary.add_column(head, justify="left" if not head else "right")
        for name, each in [*methods.items(), *((f"roofline, {k}", v) for k, v in part["families"].items())]:
            rank = "" if each["spearman"] is None else f"{each['spearman']:.3f}"
            shares = (f"{each[f'within_{share}_percent']:.0%}" for share in (20, 50))
            cells = (f"{each['mape_percent']:.1f}", rank, *shares)
            summary.add_row(name, *cells, f"{each['worst_percent']:.0f}")
        yield summary
        models = Table(title=f"{title}, by model: ms", title_justify="left")
        for head in ("model", "device", "unit", "measured", "estimated", "error %"):
            models.add_column(head, justify="right" if head in ("measured", "estimated", "error %") else "left")
        for row in part["rows"]:
            error = 100 * (row["roofline_ms"] / row["measured_ms"] - 1)
            cells = (f"{row['measured_ms']:.3g}", f"{row['roofline_ms']:.3g}", f"{error:+.0f}")
            models.add_row(row["model"], row["device"], row["compute_unit"], *cells)
        yield models
    if "intervals" in result:
        yield interval_table(result)
        yield coverage_table(result)


def interval_table(result: dict[str, Any]) -> Table:
    """The intervals by compute unit."""
    table = Table(title="Intervals of estimates: estimate divided by and times the factor", title_justify="left")
    for head in ("compute unit", "chip", "factor", "for", "left out", "latencies"):
        table.add_column(head, justify="right" if head in ("factor", "latencies") else "left")
    for name, chips in (("intervals", "of published networks"), ("extrapolated_intervals", "others")):
        for unit, each in result[name].items():
            left = f"{each['groups']} {each['left_out']}"
            cells = (f"{each['factor']:.2f}", f"{each['coverage_percent']}%", left, str(each["latencies"]))
            table.add_row(unit, chips, *cells)
    return table


def coverage_table(result: dict[str, Any]) -> Table:
    """How many latencies lie within their intervals."""
    table = Table(title="Latencies within their interval", title_justify="left")
    for head in ("", "within", "of", "%"):
        table.add_column(head, justify="left" if not head else "right")
    for name, (inside, total) in result["within_intervals"].items():
        if total:
            table.add_row(name, str(inside), str(total), f"{inside / total:.0%}")
    return table


def main(
    measured: Annotated[list[Path], typer.Option(help="Published latencies (CSV) to calibrate on.")],
    holdout: Annotated[list[Path] | None, typer.Option(help="Others to test on.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Keep the constants for `nas latency estimate`.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Calibrate on published latencies, and print how far estimates are off."""
    try:
        rows, skipped = read(measured)
        held_out, skipped_too = read(holdout or ())
    except NasError as error:
        sys.exit(f"error: {error}")
    result = report(rows, held_out) | {"skipped": [*skipped, *skipped_too]}
    if write:
        keep(rows, result)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    console = Console(width=120)
    for table in as_tables(result):
        console.print(table)
    for row in result["skipped"]:
        console.print(f"left out: {row['model']} on {row['device']}: {row['reason']}")
    twice = result["published_twice"]
    if twice["networks"]:
        console.print(
            f"published more than once for one chip: {twice['networks']} networks; their latencies differ by "
            f"{twice['median_percent']:.1f}% in the median, {twice['most_percent']:.1f}% at most"
        )
    console.print(json.dumps(result["constants"]))


def keep(rows: Sequence[Row], result: dict[str, Any]) -> None:
    """Write the constants beside the estimator, with how far they are off and on how many latencies they rest."""
    sections = result["sections"]
    Calibration(
        constants=result["constants"],
        latencies=len(rows),
        chips=chip_counts(rows),
        left_out_family_mape_percent=sections[FAMILIES]["methods"]["roofline"]["mape_percent"],
        left_out_device_mape_percent=sections[CHIPS]["methods"]["roofline"]["mape_percent"],
        intervals=result["intervals"],
        extrapolated_intervals=result["extrapolated_intervals"],
        interval_chips=result["interval_chips"],
    ).save(CONSTANTS_FILE)


if __name__ == "__main__":
    typer.run(main)
