"""Intervals of estimates from networks and chips that were left out, how many latencies lie within, and their noise."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.latency.estimating.intervals import interval_of, wider
from nas.latency.tables.metadata import EstimateInterval

Intervals = Mapping[str, EstimateInterval]
_Part = Mapping[str, Any]


def log_error(row: Mapping[str, Any]) -> float:
    """log(published / estimated) of a row of a section."""
    return math.log(row["measured_ms"] / row["roofline_ms"])


def intervals(
    rows: Sequence[Mapping[str, Any]],
    families: _Part,
    chips: _Part,
    gpu: _Part | None,
    phone_gpu: _Part | None,
    cpu: _Part | None,
) -> tuple[dict[str, EstimateInterval], dict[str, EstimateInterval]]:
    """The intervals by compute unit, for chips with published latencies and for others.

    On the Neural Engine they are those of families left out, and for other chips the wider of these and those of chips
    left out. The GPU's are of chips of Macs left out; for a phone there are toy networks alone, each left out, and the
    wider counts. The CPU has toy networks alone, too. `all` has in addition the difference between it and `cpu_and_ne`,
    where both were published.
    """
    of_families = [(row["family"], log_error(row)) for row in families["rows"]]
    of_chips = [(row["chip"], log_error(row)) for row in chips["rows"]]
    both = all_against_engine(rows)
    known, other = {}, {}
    for unit, further in (("cpu_and_ne", []), ("all", both)):
        known[unit] = interval_of(of_families, "families", further)
        other[unit] = wider(known[unit], interval_of(of_chips, "chips", further))
    if gpu is not None:
        known["cpu_and_gpu"] = interval_of([(row["chip"], log_error(row)) for row in gpu["rows"]], "chips")
        toys = [] if phone_gpu is None else [(row["model"], log_error(row)) for row in phone_gpu["rows"]]
        other["cpu_and_gpu"] = wider(known["cpu_and_gpu"], *([interval_of(toys, "networks")] if toys else []))
    if cpu is not None:
        known["cpu_only"] = other["cpu_only"] = interval_of(
            [(row["model"], log_error(row)) for row in cpu["rows"]], "networks"
        )
    return known, other


def all_against_engine(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """log(all / cpu_and_ne) of each network that one source published with both, on one device."""
    found: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for row in rows:
        found[row["device"], row["model"], row["variant"]][row["compute_unit"]] = row["measured_ms"]
    pairs = [each for each in found.values() if {"all", "cpu_and_ne"} <= each.keys()]
    return [math.log(each["all"] / each["cpu_and_ne"]) for each in pairs]


def known_chips(families: _Part, gpu: _Part | None, cpu: _Part | None) -> dict[str, list[str]]:
    """For each compute unit, the chips that its narrower interval is for."""
    engine = _chips(families)
    return {"cpu_and_ne": engine, "all": engine, "cpu_and_gpu": _chips(gpu), "cpu_only": _chips(cpu)}


def _chips(part: _Part | None) -> list[str]:
    return sorted({row["chip"] for row in part["rows"]}) if part else []


def coverage(part: _Part, known: Intervals, other: Intervals, chips: Mapping[str, list[str]]) -> tuple[int, int]:
    """How many rows of a section lie within their intervals, and how many have one."""
    inside = total = 0
    for row in part["rows"]:
        interval = (known if row["chip"] in chips[row["compute_unit"]] else other).get(row["compute_unit"])
        if interval is not None:
            total += 1
            inside += abs(log_error(row)) <= math.log(interval.factor)
    return inside, total


def noise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By how much latencies differ that were published more than once for one chip, network and setting, in percent."""
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        variant = re.sub(r"; average.*", "", row["variant"])
        found[row["chip"], row["compute_unit"], row["model"], variant].append(row["measured_ms"])
    spread = [100 * (max(each) / min(each) - 1) for each in found.values() if len(each) > 1]
    if not spread:
        return {"networks": 0}
    return {"networks": len(spread), "median_percent": float(np.median(spread)), "most_percent": max(spread)}
