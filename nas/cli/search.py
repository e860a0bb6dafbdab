"""`nas search`: search the front of quality against latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nas.cli._budgets import METAVAR, PER_DEVICE, latency_budget
from nas.cli._common import JsonOption, SeedOption, SpaceArgument, emit_json
from nas.cli._options import key_values
from nas.cli._paths import READS_TABLE
from nas.cli._quality import (
    ClipsOption,
    DirectionOption,
    FunctionOption,
    MetricOption,
    MetricOptionsOption,
    QualityOptions,
    SupernetOption,
    make_quality,
)
from nas.cli._study import DEFAULT_STORAGE, StorageToWrite, StudyOption, show_front
from nas.cli._weights import ScoredWeightsOption
from nas.cli._workers import WorkersOption, crew_document, run_workers, starts_workers

if TYPE_CHECKING:
    from nas.latency import LatencyTable
    from nas.latency.prediction.fastest_setting import FastestSetting
    from nas.latency.prediction.restriction import Removed
    from nas.quality import QualityMetric
    from nas.search import SearchConfig, StudyRecord
    from nas.space import SearchSpace


def search(
    space: SpaceArgument,
    table: Annotated[
        list[Path],
        typer.Option(
            parser=READS_TABLE,
            help="Latency table (CSV); repeat it for tables of one device with other settings, of which the fastest "
            "counts, and for tables of other devices.",
        ),
    ],
    study: StudyOption,
    supernet: SupernetOption = None,
    data: ClipsOption = None,
    metric: MetricOption = None,
    metric_option: MetricOptionsOption = None,
    quality: FunctionOption = None,
    direction: DirectionOption = None,
    weights: ScoredWeightsOption = None,
    storage: StorageToWrite = DEFAULT_STORAGE,
    evaluations: Annotated[int, typer.Option(help="Distinct architectures to score, over all runs.")] = 100,
    sampler: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Sampler that proposes architectures: pareto, random, nsga2, nsga3, tpe, exhaustive, one of an "
            "installed package, or module:factory.",
        ),
    ] = "pareto",
    sampler_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Set an option of the sampler, such as population_size=30; repeat it for each option.",
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Denoising steps per clip to predict the latency for.")] = 4,
    batches: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Batches of held-out clips to score with (default: 8).")
    ] = None,
    first_batches: Annotated[
        int,
        typer.Option(
            help="Batches to score each architecture with at first; all --batches only while no other architecture "
            "that is no slower clearly beats it. The same number as --batches scores all alike."
        ),
    ] = 4,
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE|worst",
            help="With tables of several devices: minimise the latency on DEVICE, or the largest share of its latency "
            "budget over all of them, a number without unit.",
        ),
    ] = None,
    latency_budget_ms: Annotated[
        list[str] | None, typer.Option(metavar=METAVAR, help=f"Limit on the latency of one clip; {PER_DEVICE}.")
    ] = None,
    max_parameters: Annotated[int | None, typer.Option(help="Limit on the denoising network's parameters.")] = None,
    max_memory_bytes: Annotated[
        int | None,
        typer.Option(
            help="Limit on the estimated memory of the denoising network's program (weights and activations)."
        ),
    ] = None,
    timeout_s: Annotated[float | None, typer.Option(help="End this run after this many seconds.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="End after this many evaluations in a row that left the front unchanged.")
    ] = None,
    max_failures: Annotated[int, typer.Option(help="Give up after this many failed evaluations in a row.")] = 5,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Search SPACE with a latency table and a metric. A study of the same name is resumed.

    The metric is the loss on held-out clips, with weights of a trained supernet (--supernet, --data), another
    registered metric (--metric), or your own function (--quality).

    A candidate is left out if its blocks ran out of memory or exceeded the memory budget when the table was measured,
    or if it computes the same as a faster candidate. With several tables, such as one for each deployment target and
    compute unit of a phone, each architecture gets the settings with which it is fastest. With tables of several
    devices, --latency says which latency is minimised, and a candidate that cannot run on one of them is left out.
    """
    from nas.files import parse
    from nas.latency import device_latencies, kind_for_tables
    from nas.search import SearchConfig
    from nas.search.latencies.devices import check_devices
    from nas.search.workers.child import hand_over, is_worker
    from nas.space import SearchSpace

    budget = latency_budget(latency_budget_ms)
    budgets = {"latency_ms": budget, "parameters": max_parameters, "memory_bytes": max_memory_bytes}
    options = {
        "evaluations": evaluations,
        "sampler": sampler,
        "sampler_options": key_values(sampler_option or (), "--sampler-option"),
        "seed": seed,
        "steps": steps,
        "budgets": budgets,
        "latency": latency,
        "first_batches": first_batches,
        "timeout_s": timeout_s,
        "patience": patience,
        "max_failures": max_failures,
    }
    config = parse(options, SearchConfig, where="options")
    several = starts_workers(workers, storage)
    usable, models, removed = device_latencies(SearchSpace.load(space), table, config.steps)
    # Before a supernet is loaded, or workers are started.
    check_devices(sorted(models), config.budgets.or_else(usable.budgets).latency_ms, config.latency)
    kind = kind_for_tables(weights, _tables(models) if supernet else ())
    for removal in () if as_json or is_worker() else removed:
        typer.echo(f"left out: {removal}")
    if several:
        outcome = _by_workers(workers, storage, study)
    else:
        scoring = QualityOptions(
            metric, metric_option, quality, direction, supernet, data, batches, None, seed, weights=kind
        )
        outcome = _here(usable, models, make_quality(scoring, usable.whole, stage="search"), config, storage, study)
        if hand_over(**outcome.ended):
            return
    if as_json:
        emit_json(_document(study, outcome, removed))
    else:
        _show(outcome)


class _Outcome(NamedTuple):
    """What a search came to.

    Args:
        record: The study.
        ended: Why this run ended, and its counts.
        crew: What is known of several workers.
    """

    record: StudyRecord
    ended: dict[str, Any]
    crew: dict[str, Any]


def _tables(models: Mapping[str, FastestSetting]) -> list[LatencyTable]:
    return [predictor.table for model in models.values() for predictor in model.predictors]


def _by_workers(workers: int, storage: str, study: str) -> _Outcome:
    """Search in several processes."""
    from nas.search import load_study

    crew = run_workers(workers, storage, study, "searching")
    return _Outcome(load_study(storage, study), crew.merged(reason=itemgetter(-1)), crew_document(crew))


def _here(
    space: SearchSpace,
    models: Mapping[str, FastestSetting],
    scorer: QualityMetric,
    config: SearchConfig,
    storage: str,
    study: str,
) -> _Outcome:
    """Search in this process."""
    from nas.latency.prediction.memory import program_forms
    from nas.models.memory import program_costs
    from nas.search import run_search
    from nas.search.workers.child import ending_in_order

    cost = program_costs(space, program_forms(_tables(models)))
    with ending_in_order():
        result = run_search(space, models, scorer, config, storage, study, cost=cost)
    ended = {name: getattr(result, name) for name in ("reason", "scored", "repeated", "over_budget")}
    return _Outcome(result.record, ended, {})


def _document(study: str, outcome: _Outcome, removed: Sequence[Removed]) -> dict[str, Any]:
    """The outcome as plain data."""
    from nas.search.results.neighbours import front_rows

    record = outcome.record
    left_out = [removal.to_dict() for removal in removed]
    results = {"failed": record.failed, "front": front_rows(record)}
    return {"study": study, "storage": record.where, "removed": left_out, **outcome.ended, **outcome.crew, **results}


def _show(outcome: _Outcome) -> None:
    from nas.search.results.record import empty_front

    typer.echo(f"ended: {outcome.ended['reason']}")
    if outcome.record.front:
        show_front(outcome.record)
    else:
        typer.echo(empty_front(outcome.record))
