"""`nas rescore`: score the members of a front again, with a more expensive metric."""

from __future__ import annotations

from typing import Annotated

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
    batches: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Batches of held-out clips to score with (default: 64).")
    ] = None,
    finetune_steps: Annotated[
        int | None, typer.Option(min=1, max=10**9, help="Fine-tune each architecture alone for this many steps first.")
    ] = None,
    classifier: ClassifierOption = None,
    sample_metric: SampleMetricOption = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of architectures to score: the front, then the ranks behind it (default: the front)."
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Score the front of a study again with a more expensive metric; `front`, `plot` and `pick` then use that front.

    The metric is the loss on more held-out clips, a classifier's view of generated clips (--classifier), another
    registered metric (--metric), or your own function (--quality). --finetune-steps trains each architecture alone
    first. Each score is stored at once, so the same command resumes after an interruption. Scores of different metrics
    are stored apart, and the metric used last makes the final front.
    """
    from nas.search import rescore as rescore_study
    from nas.space import SearchSpace

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
    )
    scorer = make_quality(scoring, loaded, stage="rescore")
    result = rescore_study(storage, study, scorer, members=members, space=loaded)
    if as_json:
        counts = {"scored": result.scored, "known": result.known, "failed": result.failed}
        emit_json({**counts, **front_document(result.record.final)})
        return
    typer.echo(f"{result.scored} scored, {result.known} known before, {result.failed} failed")
    show_front(result.record.final)
