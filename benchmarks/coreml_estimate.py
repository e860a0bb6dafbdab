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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from coreml_rows import Row, read  # isort: skip  # before anything that imports diffusers
from coreml_errors import CHIPS, FAMILIES, chip_counts, report
from coreml_tables import as_tables
from rich.console import Console

from nas.errors import NasError
from nas.latency.estimating.constants import CONSTANTS_FILE, Calibration


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
