"""`nas rescore`: score the members of a front again, with a more expensive metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._common import JsonOption, SeedOption, SpaceArgument, emit_json
from nas.cli._quality import (
    ClassifierOption,
    ClipsOption,
    DirectionOption,
    FunctionOption,
    MetricOption,
    MetricOptionsOption,
    QualityOptions,
    SampleMetricOption,
    SupernetOption,
    make_quality,
)
from nas.cli._study import DEFAULT_STORAGE, StorageToWrite, StudyOption, front_document, show_front
from nas.cli._weights import ScoredWeightsOption, kind_of_study, known_kind
from nas.cli._workers import WorkersOption, crew_document, run_workers, starts_workers

if TYPE_CHECKING:
    from nas.search import StudyRecord

COUNTS = ("scored", "known", "failed", "parts")


def rescore(
    space: SpaceArgument,
    study: StudyOption,
    storage: StorageToWrite = DEFAULT_STORAGE,
    supernet: SupernetOption = None,
    data: ClipsOption = None,
    metric: MetricOption = None,
    metric_option: MetricOptionsOption = None,
    quality: FunctionOption = None,
    direction: DirectionOption = None,
    weights: ScoredWeightsOption = None,
    batches: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10**9,
            help="Batches of held-out clips for what stays in doubt; the rest gets fewer (default: 64).",
        ),
    ] = None,
    finetune_steps: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Fine-tune each architecture alone for this many steps first.")
    ] = None,
    classifier: ClassifierOption = None,
    sample_metric: SampleMetricOption = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most architectures to score: the front, then those that the noise cannot tell from it, or the "
            "ranks behind it (default: the front, and all that noise cannot tell from it).",
        ),
    ] = None,
    workers: WorkersOption = 1,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Score the front of a study again with a more expensive metric; `front`, `plot` and `pick` then use that front.

    The metric is the loss on more held-out clips, a classifier's view of generated clips (--classifier), another
    registered metric (--metric), or your own function (--quality). --finetune-steps trains each architecture alone
    first. Each score is stored at once, so the same command resumes after an interruption. Scores of different metrics
    are stored apart, and the metric used last makes the final front.

    The loss on held-out clips is scored on few batches first. The number is doubled for those architectures whose order
    is in doubt, until it is --batches.
    """
    from nas.search import load_study
    from nas.search import rescore as rescore_study
    from nas.search.rescoring.selecting import parts_of_each, select_members
    from nas.search.workers.child import ending_in_order, hand_over
    from nas.space import SearchSpace

    several = starts_workers(workers, storage)
    loaded = SearchSpace.load(space)
    scoring = QualityOptions(
        metric,
        metric_option,
        quality,
        direction,
        supernet,
        data,
        batches,
        finetune_steps,
        seed,
        classifier,
        sample_metric,
        known_kind(weights or (kind_of_study(storage, study) if supernet else None)),
    )
    if several:
        select_members(load_study(storage, study), members)  # what is wrong with the study is said at once
        crew = run_workers(workers, storage, study, "scoring again")
        counts, record = {**crew.merged(known=min), **crew_document(crew)}, load_study(storage, study)
    else:
        scorer = make_quality(scoring, loaded, stage="rescore")
        with ending_in_order():
            result = rescore_study(storage, study, scorer, members=members, space=loaded)
        counts, record = {name: getattr(result, name) for name in COUNTS}, result.record
        if hand_over(**counts):
            return
    if as_json:
        emit_json({**counts, "parts_of_each": parts_of_each(record), **front_document(record.final)})
    else:
        _show(counts, record)


def _show(counts: Mapping[str, Any], record: StudyRecord) -> None:
    from nas.search.rescoring.selecting import parts_sentence

    typer.echo(f"{counts['scored']} scored, {counts['known']} known before, {counts['failed']} failed")
    if counts["parts"]:
        typer.echo(f"{counts['parts']:,} batches scored now; {parts_sentence(record)}")
    show_front(record.final)
