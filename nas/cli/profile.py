"""`nas profile`: measure the blocks of a search space, on this machine or on an iPhone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._common import JsonOption, SpaceArgument, emit_json, emit_table
from nas.cli._latency import (
    DriftOption,
    IntervalOption,
    RoundsOption,
    SecondsOption,
    SpanOption,
    TableToWrite,
    measurement_settings,
)
from nas.cli._phone import (
    LOCAL_ONLY,
    PHONE_ONLY,
    BundleOption,
    CoolDownOption,
    CopiesOption,
    MaxPairsOption,
    PairsOption,
    ProfiledDeviceOption,
    ProvisioningOption,
    TeamOption,
    WaitOption,
    profile_on_phone,
    refuse_options,
    signing,
)
from nas.cli._runtime import (
    ComputeUnitOption,
    DeploymentTargetOption,
    RuntimeOption,
    RuntimeOptionsOption,
    StoredWeightsOption,
    ThreadsOption,
    chosen_runtime,
)
from nas.latency.measuring import defaults

if TYPE_CHECKING:
    from nas.latency import LatencyTable, MeasurementSettings
    from nas.runtimes import Runtime
    from nas.space import SearchSpace


def profile(
    context: typer.Context,
    space: SpaceArgument,
    table: TableToWrite,
    runtime: RuntimeOption = "onnxruntime",
    runtime_option: RuntimeOptionsOption = None,
    threads: ThreadsOption = None,
    compute_unit: ComputeUnitOption = None,
    deployment_target: DeploymentTargetOption = None,
    weights: StoredWeightsOption = None,
    device: ProfiledDeviceOption = None,
    rounds: RoundsOption = defaults.ROUNDS,
    interval_percent: IntervalOption = defaults.INTERVAL_PERCENT,
    max_seconds: SecondsOption = defaults.MAX_SECONDS,
    min_seconds: SpanOption = defaults.MIN_SECONDS,
    drift_percent: DriftOption = defaults.DRIFT_PERCENT,
    memory_budget_bytes: Annotated[
        int | None, typer.Option(min=1, help="Do not measure blocks that need more memory than this.")
    ] = None,
    development_team: TeamOption = None,
    provisioning_profile: ProvisioningOption = None,
    bundle_identifier: BundleOption = None,
    pairs: PairsOption = defaults.PAIRS,
    max_pairs: MaxPairsOption = defaults.MAX_PAIRS,
    max_copies: CopiesOption = defaults.MAX_COPIES,
    cool_down_s: CoolDownOption = defaults.COOL_DOWN_S,
    wait_s: WaitOption = 900.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what is left to measure and how long that takes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure each distinct block of a search space once; an interrupted profile resumes when it is run again.

    Several processes with one table share the conversions, and one of them measures. On an iPhone, blocks are measured
    in chains, one after another, and --rounds, --max-seconds and --min-seconds have no effect.
    """
    shortcuts = {
        "threads": threads,
        "compute_unit": compute_unit,
        "deployment_target": deployment_target,
        "weights": weights,
    }
    chosen = chosen_runtime(runtime, runtime_option, **shortcuts)
    from nas.latency import profile as profile_blocks
    from nas.space import SearchSpace

    loaded = SearchSpace.load(space)
    began = time.perf_counter()
    if dry_run:
        of_phone = ("device",) if runtime == "coreml" else ()
        refuse_options(
            context, (*PHONE_ONLY, *of_phone, "memory_budget_bytes"), "with --dry-run, which predicts for this machine"
        )
        how = measurement_settings(rounds, interval_percent, max_seconds, min_seconds, drift_percent)
        _dry_run(loaded, chosen, table, device, how, as_json=as_json)
        return
    if runtime == "coreml" and device is not None:
        refuse_options(context, LOCAL_ONLY, "on a phone")
        measured = profile_on_phone(
            loaded,
            device,
            table,
            chosen,
            signing=signing(development_team, provisioning_profile, bundle_identifier),
            measurement={
                "pairs": pairs,
                "max_pairs": max_pairs,
                "interval_percent": interval_percent,
                "drift_percent": drift_percent,
                "max_copies": max_copies,
                "cool_down_s": cool_down_s,
            },
            wait_s=wait_s,
        )
    else:
        refuse_options(context, PHONE_ONLY, "on this machine")
        how = measurement_settings(rounds, interval_percent, max_seconds, min_seconds, drift_percent)
        measured = profile_blocks(
            loaded, chosen, table, device=device, measurement=how, memory_budget_bytes=memory_budget_bytes
        )
    _report(measured, loaded, time.perf_counter() - began, as_json=as_json)


def _dry_run(
    space: SearchSpace, runtime: Runtime, table: Path, device: str | None, how: MeasurementSettings, *, as_json: bool
) -> None:
    from nas.latency import dry_run_profile
    from nas.report.profile_dry_run import dry_run_cells, dry_run_data, dry_run_lines

    predicted = dry_run_profile(space, runtime, table, device=device, measurement=how)
    if as_json:
        emit_json({"table": str(table), **dry_run_data(predicted)})
        return
    emit_table("left to measure", dry_run_cells(predicted))
    for line in dry_run_lines(predicted):
        typer.echo(line)


def _report(table: LatencyTable, space: SearchSpace, elapsed_s: float, *, as_json: bool) -> None:
    from nas.latency import space_blocks
    from nas.report.latency_rows import outcome_lines, table_data

    blocks = space_blocks(space)
    if as_json:
        emit_json({"table": str(table.where), "elapsed_s": elapsed_s, **table_data(table, blocks)})
        return
    for line in outcome_lines(table, blocks):
        typer.echo(line)
    typer.echo(f"{table.where} is complete; this run took {elapsed_s:.0f} s")
