"""What the verbs that measure latencies or read tables share."""

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
    Path, typer.Option("--table", parser=WRITES_TABLE, help="Latency table (CSV) to write, or to resume.")
]
DeviceOption = Annotated[str | None, typer.Option(help="Name to record (default: this machine's processor).")]
RoundsOption = Annotated[int, typer.Option(help="Timed calls of each, at least.")]
IntervalOption = Annotated[float, typer.Option(help="Measure until the 95% interval is within +- this many percent.")]
SecondsOption = Annotated[
    float, typer.Option(help="Or until the calls of one have taken so many seconds, or are very many.")
]
SpanOption = Annotated[float, typer.Option(help="But never before the rounds have lasted so many seconds.")]
DriftOption = Annotated[
    float, typer.Option(help="Measure again what fell into a time when the machine was so many percent slower.")
]
ConversionsOption = Annotated[
    Path | None,
    typer.Option(
        parser=WritesInto(), help="Folder that keeps converted networks for another time (default: none kept)."
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
    """What of a space can run where a table was measured; says what was left out, unless it is to be quiet."""
    from nas.latency import LatencyTable, usable_space
    from nas.space import SearchSpace

    measured = LatencyTable.load(table)
    usable, removed = usable_space(SearchSpace.load(space), measured)
    for each in () if quiet else removed:
        typer.echo(f"left out: {each}")
    return usable, measured, removed
