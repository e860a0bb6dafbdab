"""The commands of `nas latency` that read tables: `show`, `job`, `diff`, `merge`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._latency import DeviceOption, TableToWrite
from nas.cli._paths import READS_SPACE, READS_TABLE, WRITES_FIGURE, WRITES_TABLE
from nas.cli._runtime import (
    ComputeUnitOption,
    DeploymentTargetOption,
    RuntimeOption,
    RuntimeOptionsOption,
    StoredWeightsOption,
    ThreadsOption,
    chosen_runtime,
)
from nas.formatting import counted

if TYPE_CHECKING:
    from nas.latency import LatencyTable
    from nas.space import Block

TableArgument = Annotated[Path, typer.Argument(parser=READS_TABLE, metavar="TABLE", help="Latency table (CSV).")]


def show(
    table: TableArgument,
    space: Annotated[
        Path | None,
        typer.Option(parser=READS_SPACE, help="Search space (YAML) whose blocks are shown (default: all rows)."),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            parser=WRITES_FIGURE, help="Draw the latency of each layer in each slot of --space (.png, .svg, .pdf)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the conditions of a table and its rows, the slowest first."""
    from nas.errors import ConfigError
    from nas.latency import LatencyTable
    from nas.report.latency_rows import key_cells, table_cells, table_data, table_facts, table_keys

    if figure is not None and space is None:
        hint = "name the search space with --space SPACE"
        raise ConfigError("--figure draws the slots of a search space", where="options", hint=hint)
    measured = LatencyTable.load(table)
    blocks = None if space is None else _blocks(space, measured, figure)
    if as_json:
        emit_json(table_data(measured, blocks))
        return
    emit_table(str(table), [{"": name, " ": fact} for name, fact in table_facts(measured).items()])
    emit_table("Blocks, the slowest first, in ms per call", table_cells(measured, blocks))
    emit_table("Keys", key_cells(table_keys(measured, blocks)))


def _blocks(path: Path, table: LatencyTable, figure: Path | None) -> tuple[Block, ...]:
    """The blocks of a search space, whose layers are drawn if there is a figure to write."""
    from nas.latency import space_blocks
    from nas.space import SearchSpace

    space = SearchSpace.load(path)
    if figure is not None:
        from nas.report import plot_latency_heat_map

        plot_latency_heat_map(space, table, figure)
    return space_blocks(space)


def job(
    space: SpaceArgument,
    table: TableToWrite,
    runtime: RuntimeOption = "onnxruntime",
    runtime_option: RuntimeOptionsOption = None,
    threads: ThreadsOption = None,
    compute_unit: ComputeUnitOption = None,
    deployment_target: DeploymentTargetOption = None,
    weights: StoredWeightsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the state of each block that `nas profile` with the same options would measure."""
    from nas.latency import job_states
    from nas.space import SearchSpace

    shortcuts = {
        "threads": threads,
        "compute_unit": compute_unit,
        "deployment_target": deployment_target,
        "weights": weights,
    }
    chosen = chosen_runtime(runtime, runtime_option, **shortcuts)
    states = job_states(SearchSpace.load(space), chosen, table, device=device)
    counts = dict(Counter(states.values()))
    if as_json:
        blocks = [{"key": block.key, "kind": block.kind, "state": state} for block, state in states.items()]
        emit_json({"table": str(table), "counts": counts, "blocks": blocks})
        return
    emit_table(str(table), [{"state": state, "block": block.key} for block, state in states.items()])
    typer.echo(", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts.items()))


def diff(
    first: Annotated[Path, typer.Argument(parser=READS_TABLE, metavar="FIRST", help="Latency table (CSV).")],
    second: Annotated[
        Path,
        typer.Argument(
            parser=READS_TABLE, metavar="SECOND", help="Latency table (CSV) to compare with, of any device and runtime."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Print two tables side by side, with the ratio of the second to the first."""
    from nas.latency import LatencyTable, compare_tables
    from nas.report.latency_changes import difference_cells, difference_data
    from nas.report.latency_rows import conditions_text, key_cells

    tables = [LatencyTable.load(path) for path in (first, second)]
    differences = compare_tables(*tables)
    summary = difference_data(differences)
    conditions = [conditions_text(loaded.metadata) for loaded in tables]
    if as_json:
        emit_json({"first": conditions[0], "second": conditions[1], **summary})
        return
    typer.echo(f"first: {first}, {conditions[0]}\nsecond: {second}, {conditions[1]}")
    emit_table("Latency, second over first", difference_cells(differences))
    emit_table("Keys", key_cells(row.key for row in differences))
    if summary["compared"]:
        typer.echo(
            f"median ratio {summary['median_ratio']:.3g} over {summary['compared']} blocks; "
            f"the 95% intervals of {summary['apart']} of them do not overlap"
        )
    else:
        typer.echo("no block has a latency in both")


def merge(
    tables: Annotated[
        list[Path], typer.Argument(parser=READS_TABLE, metavar="TABLE...", help="Latency tables (CSV) of one device.")
    ],
    out: Annotated[Path, typer.Option(parser=WRITES_TABLE, help="Latency table (CSV) to write; it must not exist.")],
    fill_gaps: Annotated[
        Path | None,
        typer.Option(parser=READS_TABLE, help="Table of estimates (CSV) from which missing rows are taken."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Merge tables of one device, runtime and settings; of two rows of one block, the newer one is kept."""
    from nas.latency import merge_files
    from nas.report.latency_changes import superseded_data, superseded_lines

    merged = merge_files(tables, out, fill_gaps)
    if as_json:
        data = {"table": str(out), "rows": len(merged.table), "superseded": superseded_data(merged.superseded)}
        emit_json(data)
        return
    for line in superseded_lines(merged.superseded):
        typer.echo(line)
    if (basis := merged.table.metadata.estimate) is not None:
        number = sum(row.provenance == "estimated" for row in merged.table.rows.values())
        typer.echo(f"estimated for a phone with {basis.chip}: {counted(number, 'row')}")
    typer.echo(f"{out}: {counted(len(merged.table), 'row')}; {counted(len(merged.superseded), 'older one')} dropped")
