"""Latency tables as cells to print and as plain data for scripts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nas.formatting import Cell, bytes_text, cell_text
from nas.latency import LatencyRow, LatencyTable, TableMetadata
from nas.latency.measuring.recorded import statistic_text
from nas.latency.tables.metadata import EstimateBasis, EstimateInterval
from nas.latency.tables.samples import samples_path

if TYPE_CHECKING:
    from nas.space import Block

_FIGURES = ("ms", "± %", "samples", "stopped", "drift %", "memory")


def moment_text(at: datetime) -> str:
    """A time in words, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def conditions_text(metadata: TableMetadata) -> str:
    """The conditions of a table in a few words: device, runtime, precision, compute unit, threads, options."""
    threads = [] if metadata.threads is None else [f"{metadata.threads} thread{'s' * (metadata.threads != 1)}"]
    settings = [metadata.runtime, metadata.precision, metadata.compute_unit, *threads]
    return ", ".join(
        [metadata.device_text, *settings, *(f"{name}={value}" for name, value in metadata.options.items())]
    )


def provenance_text(rows: Iterable[LatencyRow]) -> str:
    """The provenance of rows in words: `measured`, `estimated` or `published`, or several of these."""
    return " and ".join(sorted({row.provenance for row in rows if row.usable}, reverse=True))


def interval_percent(row: LatencyRow) -> float | None:
    """Half the width of the 95% interval of a latency, in percent of it; `None` if the row has none."""
    if row.latency_ms is None or row.ci_low_ms is None or row.ci_high_ms is None:
        return None
    return 50 * (row.ci_high_ms - row.ci_low_ms) / row.latency_ms


def refusal_text(row: LatencyRow, metadata: TableMetadata) -> str:
    """Why a row has no latency, in a few words."""
    if row.status == "failed":
        return f"failed: {row.reason}"
    if row.status == "out_of_memory":
        return "out of memory"
    budget = "" if metadata.memory_budget_bytes is None else f" of {bytes_text(metadata.memory_budget_bytes)}"
    return f"over the memory budget{budget}"


def placement_text(row: LatencyRow) -> str | None:
    """The processors of a block's operations, e.g. `NE 92% GPU 8%`; `None` if they are not known."""
    shares = {"NE": row.ops_on_neural_engine, "GPU": row.ops_on_gpu, "CPU": row.ops_on_cpu}
    return " ".join(f"{engine} {share:.0%}" for engine, share in shares.items() if share) or None


def table_facts(table: LatencyTable) -> dict[str, str]:
    """The facts about a table by name; unknown ones are left out."""
    metadata = table.metadata
    facts = {
        "device": conditions_text(metadata),
        "processor": metadata.cpu if metadata.cpu != metadata.device else None,
        "converted to opset": metadata.opset,
        "versions": _pairs(metadata.versions),
        "search spaces": ", ".join(metadata.spaces),
        "blocks": _counts(table.rows.values()),
        "complete": "yes" if metadata.complete else "no; run the command that began it again to resume",
        "memory budget": metadata.memory_budget_bytes and bytes_text(metadata.memory_budget_bytes),
        "latency": statistic_text(metadata.statistic) if any(row.samples for row in table.rows.values()) else None,
        "call of a network": metadata.call_overhead_ms is not None
        and f"takes {cell_text(metadata.call_overhead_ms)} ms in addition to its blocks",
        "estimates": metadata.estimate and basis_text(metadata.estimate),
        "measurement": _pairs(metadata.measurement),
        "reference block": _reference(metadata),
        "measured": _period(metadata),
        "processors allowed": metadata.affinity and ", ".join(map(str, metadata.affinity)),
        "processor share": metadata.processor_share and f"{metadata.processor_share:.0%} at worst",
        "load average": metadata.load_average and f"{metadata.load_average:.2f} at most",
        "raw samples": _samples_file(table) or "none beside the table",
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def table_cells(table: LatencyTable, blocks: Collection[Block] | None = None) -> list[dict[str, Cell]]:
    """The rows of a table to print: the slowest first, then blocks without latency and the reasons.

    Args:
        table: The table.
        blocks: Blocks to show, with those that are not in the table; all rows when `None`.

    Returns:
        Cells with a number for each block; `key_cells` lists the keys by number.
    """
    rows, missing = _chosen(table, blocks)
    shown = [_cells(row, table.metadata) for row in rows]
    if any(row.ops_on_cpu is not None for row in rows):  # a phone reports where blocks run, and no memory
        shown = [_placed(cells, row) for cells, row in zip(shown, rows, strict=True)]
    blank: dict[str, Cell] = dict.fromkeys(shown[0] if shown else ("kind", *_FIGURES))
    shown += [{**blank, "kind": block.kind, "stopped": "not in the table"} for block in missing]
    return [{"#": number, **cells} for number, cells in enumerate(shown, start=1)]


def table_keys(table: LatencyTable, blocks: Collection[Block] | None = None) -> list[str]:
    """The keys of `table_cells`, in its order."""
    rows, missing = _chosen(table, blocks)
    return [row.key for row in rows] + [block.key for block in missing]


def key_cells(keys: Iterable[str]) -> list[dict[str, Cell]]:
    """The keys with the numbers of their blocks; they are too long to be printed beside figures."""
    return [{"#": number, "block": key} for number, key in enumerate(keys, start=1)]


def table_data(table: LatencyTable, blocks: Collection[Block] | None = None) -> dict[str, Any]:
    """A table as plain data; `blocks` as for `table_cells`."""
    rows, missing = _chosen(table, blocks)
    return {
        "metadata": table.metadata.model_dump(mode="json"),
        "samples_file": _samples_file(table),
        "blocks": [row.model_dump(mode="json") | {"interval_percent": interval_percent(row)} for row in rows],
        "missing": [block.key for block in missing],
    }


def outcome_lines(table: LatencyTable, blocks: Collection[Block]) -> list[str]:
    """The outcome of profiling, a line each: what was measured, what reached the time limit, what was refused."""
    rows, _ = _chosen(table, blocks)
    late = sum(row.stopped == "time" for row in rows)
    lines = [f"{conditions_text(table.metadata)}: {_counts(rows)}"]
    lines += [f"{late} of them reached the time limit before the requested precision"] if late else []
    return lines + [_refusal_line(row, table.metadata) for row in rows if not row.usable]


def _chosen(table: LatencyTable, blocks: Collection[Block] | None) -> tuple[list[LatencyRow], list[Block]]:
    """Rows, slowest first and those without latency last; and the blocks that have none."""
    keys = table.rows.keys() if blocks is None else [block.key for block in blocks if block in table]
    rows = sorted((table.rows[key] for key in keys), key=lambda row: (not row.usable, -(row.latency_ms or 0)))
    return rows, [block for block in blocks or () if block not in table]


def _cells(row: LatencyRow, metadata: TableMetadata) -> dict[str, Cell]:
    figures = (
        row.latency_ms,
        interval_percent(row),
        row.samples or None,
        row.stopped or (row.provenance if row.usable else refusal_text(row, metadata)),
        row.drift_percent,
        None if row.memory_bytes is None else bytes_text(row.memory_bytes),
    )
    return {"kind": row.kind, **dict(zip(_FIGURES, figures, strict=True))}


def _placed(cells: dict[str, Cell], row: LatencyRow) -> dict[str, Cell]:
    return {name: cell for name, cell in cells.items() if name != "memory"} | {"runs on": placement_text(row)}


def _counts(rows: Collection[LatencyRow]) -> str:
    usable = [row for row in rows if row.usable]
    counts = f"{len(usable)} block{'s' * (len(usable) != 1)} {provenance_text(usable)}".rstrip()
    return counts + (f", {len(rows) - len(usable)} refused" if len(usable) < len(rows) else "")


def _refusal_line(row: LatencyRow, metadata: TableMetadata) -> str:
    needed = "" if row.memory_bytes is None else f" (needs {bytes_text(row.memory_bytes)})"
    return f"{refusal_text(row, metadata)}{needed}: {row.key}"


def _samples_file(table: LatencyTable) -> str | None:
    file = None if table.where is None else samples_path(table.where)
    return str(file) if file is not None and file.is_file() else None


def basis_text(basis: EstimateBasis) -> str:
    """The data behind estimates, in a sentence."""
    known = (
        f"none of them of the {basis.chip}, so extrapolated"
        if basis.extrapolated
        else (f"{basis.chip_latencies} of them of the {basis.chip}")
    )
    return (
        f"roofline calibrated on {basis.latencies} published latencies, {known}; its mean error was "
        f"{basis.left_out_family_mape_percent:.0f}% for networks of a family, and "
        f"{basis.left_out_device_mape_percent:.0f}% for diffusion UNets and decoders on a chip, that it had not seen"
        f"{_interval_text(basis.interval)}"
    )


def _interval_text(interval: EstimateInterval | None) -> str:
    """The interval of estimates as the end of a sentence; nothing for tables of earlier versions."""
    if interval is None:
        return ""
    latencies = f"{interval.latencies} latenc{'ies' if interval.latencies > 1 else 'y'}"
    return (
        f"; a network's latency lies within {1 / interval.factor:.2f} to {interval.factor:.2f} times its estimate "
        f"({interval.coverage_percent}% interval, estimated from {interval.groups} {interval.left_out} that were left "
        f"out, {latencies})"
    )


def _reference(metadata: TableMetadata) -> str | None:
    at_best = "" if metadata.reference_ms is None else f" took {cell_text(metadata.reference_ms)} ms at best"
    return metadata.reference and f"{metadata.reference}{at_best}"


def _period(metadata: TableMetadata) -> str | None:
    if metadata.began_at is None or metadata.ended_at is None:
        return None
    return f"{moment_text(metadata.began_at)} to {moment_text(metadata.ended_at)}"


def _pairs(values: Mapping[str, Cell]) -> str:
    return ", ".join(f"{name} {cell_text(value)}" for name, value in values.items())
