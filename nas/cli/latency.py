"""`nas latency`: tables, predictions made from them, and checks of the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli import _latency_estimate, _latency_tables
from nas.cli._app import App
from nas.cli._common import JsonOption, SeedOption, SpaceArgument, TableOption, emit_json, emit_table
from nas.cli._latency import (
    ConversionsOption,
    DriftOption,
    IntervalOption,
    RoundsOption,
    SecondsOption,
    SpanOption,
    measurement_settings,
    open_usable,
)
from nas.cli._paths import EXTENDS_TABLE, READS_FILE, WRITES_FIGURE
from nas.formatting import Cell, bytes_text, cell_text, counted
from nas.latency.measuring import defaults

if TYPE_CHECKING:
    from nas.latency import CheckReport, LatencyFit, LatencyPredictor, LatencyTable, TableMetadata
    from nas.latency.prediction.checking import NetworkCheck
    from nas.space import Architecture, SearchSpace

MOST_NETWORKS = 10**6
NO_FIT = "sums of blocks, without a fit: their error is unknown"

app = App(help="Show and merge latency tables, predict from them, and check the predictions.", no_args_is_help=True)
app.command()(_latency_tables.show)
app.command()(_latency_tables.job)
app.command()(_latency_tables.diff)
app.command()(_latency_tables.merge)
app.command()(_latency_estimate.estimate)


@app.command()
def fit(
    space: SpaceArgument,
    table: Annotated[
        Path,
        typer.Option(
            parser=EXTENDS_TABLE, help="Latency table (CSV) made by `nas profile`; the fit is written beside it."
        ),
    ],
    networks: Annotated[
        int, typer.Option(max=MOST_NETWORKS, help="Number of whole networks to measure, from fast to slow; at least 3.")
    ] = 10,
    seed: SeedOption = 0,
    rounds: RoundsOption = defaults.ROUNDS,
    interval_percent: IntervalOption = defaults.INTERVAL_PERCENT,
    max_seconds: SecondsOption = defaults.FIT_MAX_SECONDS,
    min_seconds: SpanOption = defaults.FIT_MIN_SECONDS,
    drift_percent: DriftOption = defaults.DRIFT_PERCENT,
    conversions: ConversionsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a few whole networks and fit the sums of their blocks to them; later predictions use the fit."""
    from nas.latency import fit_networks

    how = measurement_settings(rounds, interval_percent, max_seconds, min_seconds, drift_percent)
    usable, measured, removed = open_usable(space, table, quiet=as_json)
    fitted = fit_networks(usable, measured, None, networks=networks, seed=seed, measurement=how, folder=conversions)
    file = fitted.save(table)
    if as_json:
        left_out = [candidate.to_dict() for candidate in removed]
        emit_json({"file": str(file), "removed": left_out, **fitted.model_dump(mode="json")})
        return
    names = ("architecture", "sum_ms", "measured_ms")
    rows = [{name: getattr(network, name) for name in names} for network in fitted.networks]
    emit_table("Networks, one call of the denoising network", rows)
    typer.echo(f"prediction = {fitted.equation} (90% interval)")
    typer.echo(f"written to {file}")


@app.command()
def check(
    space: SpaceArgument,
    table: TableOption,
    networks: Annotated[
        int,
        typer.Option(
            min=1, max=MOST_NETWORKS, help="Number of random networks to measure; none of them is in the fit."
        ),
    ] = 5,
    seed: SeedOption = 0,
    times: Annotated[
        int, typer.Option(min=1, max=2, help="Measurements per network; two show how much measurements differ.")
    ] = 1,
    rounds: RoundsOption = defaults.ROUNDS,
    interval_percent: IntervalOption = defaults.INTERVAL_PERCENT,
    max_seconds: SecondsOption = defaults.MAX_SECONDS,
    min_seconds: SpanOption = defaults.MIN_SECONDS,
    drift_percent: DriftOption = defaults.DRIFT_PERCENT,
    conversions: ConversionsOption = None,
    figure: Annotated[
        Path | None, typer.Option(parser=WRITES_FIGURE, help="Draw predicted against measured (.png, .svg, .pdf).")
    ] = None,
    errors_figure: Annotated[
        Path | None, typer.Option(parser=WRITES_FIGURE, help="Draw the error by slot and layer (.png, .svg, .pdf).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure whole networks and compare them with their predictions."""
    from nas.latency import LatencyPredictor, check_networks, fresh_architectures
    from nas.report import plot_error_contributions, plot_latency_check
    from nas.report.latency_rows import conditions_text
    from nas.report.style import check_format

    how = measurement_settings(rounds, interval_percent, max_seconds, min_seconds, drift_percent)
    for path in filter(None, (figure, errors_figure)):
        check_format(path)
    usable, measured, removed = open_usable(space, table, quiet=as_json)
    fitted = LatencyPredictor.open(usable, table).fit
    seen = () if fitted is None else [network.architecture for network in fitted.networks]
    chosen = fresh_architectures(usable, networks, seed, exclude=seen)
    report = check_networks(
        usable, measured, None, chosen, fit=fitted, measurement=how, times=times, folder=conversions
    )
    measured_on = conditions_text(measured.metadata)
    if figure is not None:
        plot_latency_check(report, figure, measured_on=measured_on)
    if errors_figure is not None:
        plot_error_contributions(usable, report, errors_figure, measured_on=measured_on)
    if as_json:
        left_out = [candidate.to_dict() for candidate in removed]
        emit_json({"measured_on": measured_on, "removed": left_out, "networks": report.rows(), **report.summary()})
    else:
        _show_check(report, measured_on)


def _show_check(report: CheckReport, measured_on: str) -> None:
    emit_table(
        f"One call of the denoising network, ms: {measured_on}", [_check_cells(checked) for checked in report.checks]
    )
    emit_table("Summary", [{"": name, " ": value} for name, value in report.summary().items()])
    if report.slowdown is None:
        typer.echo("predictions are sums of blocks, without a fit")
    else:
        typer.echo(
            f"predictions are multiplied by {report.slowdown:.3f}: "
            "the time of the fit's networks now, over their time then"
        )


@app.command()
def predict(
    space: SpaceArgument,
    table: TableOption,
    architecture: Annotated[
        Path | None,
        typer.Option(parser=READS_FILE, help="Architecture (YAML) to predict (default: the reference architectures)."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=10**9, help="Number of denoising steps per clip.")] = 4,
    as_json: JsonOption = False,
) -> None:
    """Predict the latency of an architecture, or of the smallest, the fastest, the slowest and uniform ones."""
    from nas.latency import LatencyPredictor

    usable, measured, removed = open_usable(space, table, quiet=as_json)
    # A given architecture may use an implementation that is not the fastest here; its latency is known, too.
    predictor = LatencyPredictor.open(usable.whole if architecture else usable, table, steps)
    given = (
        {"given": predictor.space.load_architecture(architecture)} if architecture else _references(usable, predictor)
    )
    rows = [_prediction(name, item, predictor) for name, item in given.items()]
    metadata, fitted = measured.metadata, predictor.fit
    if as_json:
        facts = {"device": metadata.device_text, "runtime": metadata.runtime, "steps": steps}
        fitted_networks = 0 if fitted is None else len(fitted.networks)
        left_out = [candidate.to_dict() for candidate in removed]
        emit_json({**facts, "fitted_networks": fitted_networks, "removed": left_out, "architectures": rows})
    else:
        _show_predictions(rows, measured, steps)
        typer.echo(_basis(metadata, fitted, f"nas latency fit {space} --table {table}"))


def _show_predictions(rows: Sequence[dict[str, Any]], table: LatencyTable, steps: int) -> None:
    device, runtime = table.metadata.device_text, table.metadata.runtime
    title = f"Predicted from {table.provenance} blocks, ms: {device}, {runtime}, {counted(steps, 'step')}"
    emit_table(title, [_prediction_cells(row) for row in rows])
    others = rows[0]["memory_bytes"]
    typer.echo(
        "memory is estimated, for the denoising network alone: weights as stored and values between blocks; the text "
        f"encoder takes {bytes_text(others['text_encoder'])}, the decoder {bytes_text(others['decoder'])}, if loaded"
    )


def _basis(metadata: TableMetadata, fitted: LatencyFit | None, command: str) -> str:
    """What predictions rest on; without a fit, the command that makes one."""
    from nas.report.latency_rows import basis_text

    if fitted is not None:
        return f"fitted to {len(fitted.networks)} whole networks of this space"
    if metadata.estimate is not None:
        return basis_text(metadata.estimate)
    if metadata.of_phone:
        return f"{NO_FIT}; whole networks are not measured on a phone yet"
    return f"{NO_FIT}; measure it with: {command}"


def _prediction(name: str, architecture: Architecture, predictor: LatencyPredictor) -> dict[str, Any]:
    from nas.latency.prediction.memory import pipeline_memory

    latency = predictor.predict(architecture)
    return {
        "name": name,
        "architecture": architecture.id,
        "text_encoder_ms": latency.text_encoder_ms,
        "unet_ms": latency.unet_ms,
        "decoder_ms": latency.decoder_ms,
        "pipeline_ms": latency.pipeline_ms,
        "low_ms": latency.low_ms,
        "high_ms": latency.high_ms,
        "interval_percent": latency.interval_percent,
        "blocks": latency.provenance,
        "memory_bytes": pipeline_memory(predictor.space, architecture, predictor.table.metadata),
    }


def _prediction_cells(row: dict[str, Any]) -> dict[str, Cell]:
    """A prediction in the width of a screen."""
    names = {"name": "", "text_encoder_ms": "text", "unet_ms": "unet", "decoder_ms": "decoder", "pipeline_ms": "clip"}
    share = f"{row['interval_percent'] or 90}% interval"
    cells = {title: row[name] for name, title in names.items()} | {share: _range(row["low_ms"], row["high_ms"])}
    return cells | {"memory, est.": bytes_text(row["memory_bytes"]["unet"])}


def _check_cells(checked: NetworkCheck) -> dict[str, Cell]:
    """A network's check in the width of a screen."""
    return {
        "architecture": checked.architecture.id,
        "predicted": checked.predicted_unet_ms,
        "90% interval": _range(checked.low_ms, checked.high_ms),
        "measured": " and ".join(map(cell_text, checked.measurements_ms)),
        "error %": 100 * checked.error,
    }


def _range(low_ms: float | None, high_ms: float | None) -> str | None:
    return None if low_ms is None or high_ms is None else f"{cell_text(low_ms)} to {cell_text(high_ms)}"


def _references(space: SearchSpace, predictor: LatencyPredictor) -> dict[str, Architecture]:
    names = dict.fromkeys(name for slot in space.slots for name in slot.candidates)
    uniform = {f"all {name}": space.uniform(name) for name in names}
    references = {"smallest": space.smallest(), "fastest": predictor.fastest(), "slowest": predictor.slowest()}
    return references | {name: item for name, item in uniform.items() if item is not None}
