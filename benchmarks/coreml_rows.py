"""Published latencies of real phones, pads and Macs, each with the counts of its network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import coreml_models  # isort: skip  # before anything that imports diffusers

from nas.errors import ConfigError
from nas.latency.estimating.calibration import Observation
from nas.latency.estimating.chips import get_phone
from nas.latency.estimating.operations import AttentionLowering, operations
from nas.latency.estimating.processor_rules import COMPUTE_UNITS
from nas.latency.estimating.roofline import Workload

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
