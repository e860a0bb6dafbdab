"""`nas run`: the whole pipeline from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, emit_json, emit_table
from nas.cli._paths import READS_RUN


def run(
    config: Annotated[
        Path, typer.Argument(parser=READS_RUN, metavar="CONFIG", help="Run file (YAML), e.g. examples/quickstart.yaml.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Profile, train, search, pick, check, distil, export and sample; run it again to resume."""
    # Loading PyTorch and the rest takes seconds, in which a user would wonder.
    typer.echo(f"{config}: loading libraries", err=True)
    from nas.pipeline import run_pipeline

    reports = run_pipeline(config, lambda line: typer.echo(line, err=True))
    rows = [
        {
            "stage": report.name,
            "result": report.result.headline,
            "folder": str(report.folder),
            "seconds": round(report.seconds, 1),
            "this run": "skipped" if report.skipped else "done",
        }
        for report in reports
    ]
    if as_json:
        emit_json([row | {"files": list(report.result.files)} for row, report in zip(rows, reports, strict=True)])
    else:
        emit_table("what was made, and where", rows)
