"""Options and checks that the latency commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._paths import WRITES_TABLE, WritesInto

if TYPE_CHECKING:
    from nas.latency import LatencyTable, MeasurementSettings
    from nas.latency.prediction.restriction import Removed
    from nas.space import SearchSpace

TableToWrite = Annotated[
    Path, typer.Option("--table", parser=WRITES_TABLE, help="Latency table (CSV) to write or to resume.")
]
DeviceOption = Annotated[str | None, typer.Option(help="Name to record (default: this machine's processor).")]
RoundsOption = Annotated[int, typer.Option(help="Least number of timed calls per block or network.")]
IntervalOption = Annotated[
    float, typer.Option(help="Stop a block when its 95% interval is within +- this percentage of its latency.")
]
SecondsOption = Annotated[
    float, typer.Option(help="Stop a block when its own calls have taken this many seconds, or after 1000 calls.")
]
SpanOption = Annotated[float, typer.Option(help="Measure each block over a period of at least this many seconds.")]
DriftOption = Annotated[
    float, typer.Option(help="Repeat calls that were made while the machine was more than this many percent slower.")
]
ConversionsOption = Annotated[
    Path | None,
    typer.Option(
        parser=WritesInto(), help="Folder to keep converted networks in, so that they can be reused (default: none)."
    ),
]


def measurement_settings(
    rounds: int, interval_percent: float, max_seconds: float, min_seconds: float, drift_percent: float
) -> MeasurementSettings:
    """The settings that these options give; raises `ConfigError` for impossible ones."""
    from nas.files import parse
    from nas.latency import MeasurementSettings

    options = {
        "rounds": rounds,
        "interval_percent": interval_percent,
        "max_seconds": max_seconds,
        "min_seconds": min_seconds,
        "drift_percent": drift_percent,
    }
    return parse(options, MeasurementSettings, where="options")


def open_usable(space: Path, table: Path, *, quiet: bool) -> tuple[SearchSpace, LatencyTable, tuple[Removed, ...]]:
    """The part of a space that can run where a table was measured; prints what is left out, unless `quiet`."""
    from nas.latency import LatencyTable, usable_space
    from nas.latency.tables.blocks import refuse_foreign_table
    from nas.space import SearchSpace

    measured, whole = LatencyTable.load(table), SearchSpace.load(space)
    refuse_foreign_table(whole, measured)
    usable, removed = usable_space(whole, measured)
    for candidate in () if quiet else removed:
        typer.echo(f"left out: {candidate}")
    return usable, measured, removed
