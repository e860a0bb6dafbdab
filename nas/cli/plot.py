"""`nas plot`: draw the front of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._paths import WRITES_FIGURE
from nas.cli._study import (
    DEFAULT_STORAGE,
    ExactOption,
    ReferenceOption,
    SearchScoresOption,
    StorageOption,
    StudyOption,
    check_budget,
    load_record,
)


def plot(
    study: StudyOption,
    out: Annotated[Path, typer.Option(parser=WRITES_FIGURE, help="Figure to write: .png, .svg or .pdf.")],
    storage: StorageOption = DEFAULT_STORAGE,
    latency_budget_ms: Annotated[
        float | None,
        typer.Option(help="Latency budget to draw, with the architecture it would pick (default: the study's)."),
    ] = None,
    knee: Annotated[
        bool, typer.Option("--knee", help="Mark the knee of the front, not the architecture that a budget would pick.")
    ] = False,
    exact: ExactOption = False,
    search_scores: SearchScoresOption = False,
    reference: ReferenceOption = None,
) -> None:
    """Draw every architecture scored, the front, and how its hypervolume grew.

    After `nas rescore` both stages are drawn, and the members that left the front are marked.
    """
    from nas.errors import BudgetError, ConfigError
    from nas.report import plot_front
    from nas.search import choose, choose_by_score

    if knee and latency_budget_ms is not None:
        raise ConfigError("give either --latency-budget-ms or --knee", where="options")
    check_budget(latency_budget_ms)
    record = load_record(storage, study, search_scores=search_scores)
    budget_ms = record.latency_budget_ms if latency_budget_ms is None else latency_budget_ms
    chosen = None
    if knee or budget_ms is not None:
        try:
            chooser = choose_by_score if exact else choose
            chosen = chooser(record, None if knee else budget_ms).member.architecture
        except BudgetError as error:
            typer.echo(f"nothing is marked as chosen: {error}", err=True)
    plot_front(record, out, latency_budget_ms=budget_ms, chosen=chosen, reference=reference)
    typer.echo(str(out))
