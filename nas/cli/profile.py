"""`nas profile`: measure the blocks of a search space on this machine."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json
from nas.cli._latency import (
    DeviceOption,
    DriftOption,
    IntervalOption,
    RoundsOption,
    RuntimeOption,
    SecondsOption,
    SpanOption,
    TableToWrite,
    ThreadsOption,
    protocol,
)


def profile(
    space: SpaceArgument,
    table: TableToWrite,
    runtime: RuntimeOption = "onnxruntime",
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    rounds: RoundsOption = 30,
    interval_percent: IntervalOption = 1.0,
    max_seconds: SecondsOption = 3.0,
    min_seconds: SpanOption = 20.0,
    drift_percent: DriftOption = 10.0,
    memory_budget_bytes: Annotated[
        int | None, typer.Option(min=1, help="Do not measure blocks that need more memory than this.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure each distinct block of a search space once; run again, it goes on where it was interrupted.

    Several at once on one table share the conversions; one of them measures.
    """
    from nas.latency import profile as profile_blocks
    from nas.latency import space_blocks
    from nas.report.latency_rows import outcome_lines, table_data
    from nas.runtimes import get_runtime
    from nas.space import SearchSpace

    how = protocol(rounds, interval_percent, max_seconds, min_seconds, drift_percent)
    loaded, chosen = SearchSpace.load(space), get_runtime(runtime, threads=threads)
    began = time.perf_counter()
    found = profile_blocks(loaded, chosen, table, device=device, protocol=how, memory_budget_bytes=memory_budget_bytes)
    elapsed_s = time.perf_counter() - began
    blocks = space_blocks(loaded)
    if as_json:
        emit_json({"table": str(table), "elapsed_s": elapsed_s, **table_data(found, blocks)})
        return
    for line in outcome_lines(found, blocks):
        typer.echo(line)
    typer.echo(f"{table} is complete; this run took {elapsed_s:.0f} s")
