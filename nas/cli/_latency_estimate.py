"""`nas latency estimate`: estimated latencies of a phone, without the phone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json
from nas.cli._paths import WRITES_TABLE
from nas.formatting import counted

DEFAULT_FOLDER = Path("latency_tables")


def estimate(
    space: SpaceArgument,
    device: Annotated[
        str, typer.Option(help="Phone to estimate for, e.g. iphone-15-pro; `nas devices` lists all names.")
    ],
    compute_unit: Annotated[
        str, typer.Option(help="Processors that Core ML may use: all, cpu_and_ne, cpu_and_gpu or cpu_only.")
    ] = "cpu_and_ne",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Kind of weights that blocks are stored with: int8, palettized_8, palettized_6 or palettized_4 "
            "(default: fp16)."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            parser=WRITES_TABLE,
            help="Latency table (CSV) to write (default: latency_tables/SPACE-DEVICE-UNIT.csv, with "
            "-WEIGHTS if they are compressed).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Estimate the latency of all blocks on a phone from published figures of its chip and published latencies.

    Estimates of another space that are in the table stay there.
    """
    from nas.latency import Estimator, LatencyTable, estimate_table, get_phone
    from nas.latency.estimating.updating import check_updatable, updated
    from nas.report.latency_rows import basis_text, conditions_text
    from nas.space import SearchSpace

    phone = get_phone(device)
    loaded = SearchSpace.load(space)
    estimator = Estimator(phone, compute_unit, weights=weights)
    names = [loaded.name, phone.slug, estimator.unit, *([weights] if estimator.weights.compressed and weights else [])]
    path = table or DEFAULT_FOLDER / f"{'-'.join(names)}.csv"
    there = LatencyTable.load(path) if path.is_file() else None
    if there is not None:
        check_updatable(there, estimator.metadata(loaded))
    made = estimate_table(loaded, estimator)
    count = len(made)
    made = (made if there is None else updated(there, made)).save(path)
    if as_json:
        emit_json({"table": str(path), **made.metadata.model_dump(mode="json")})
        return
    typer.echo(f"{conditions_text(made.metadata)}: {counted(count, 'block')} estimated, none measured")
    typer.echo(basis_text(estimator.basis))
    typer.echo(f"written to {path}")
