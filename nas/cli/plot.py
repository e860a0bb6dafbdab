"""`nas plot`: draw the front of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._budgets import METAVAR, PER_DEVICE, latency_budget
from nas.cli._paths import WRITES_FIGURE
from nas.cli._study import (
    DEFAULT_STORAGE,
    ExactOption,
    ReferenceOption,
    SearchScoresOption,
    StorageOption,
    StudyOption,
    load_record,
)


def plot(
    study: StudyOption,
    out: Annotated[Path, typer.Option(parser=WRITES_FIGURE, help="Figure to write: .png, .svg or .pdf.")],
    storage: StorageOption = DEFAULT_STORAGE,
    latency_budget_ms: Annotated[
        list[str] | None,
        typer.Option(
            metavar=METAVAR,
            help=f"Latency budget to draw, with the architecture it would pick (default: the study's); {PER_DEVICE}.",
        ),
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

    given = latency_budget(latency_budget_ms)
    if knee and given is not None:
        raise ConfigError("give either --latency-budget-ms or --knee", where="options")
    record = load_record(storage, study, search_scores=search_scores)
    budget = record.latency_budget if given is None else given
    chosen = None
    if knee or budget is not None:
        try:
            chooser = choose_by_score if exact else choose
            chosen = chooser(record, None if knee else budget).member.architecture
        except BudgetError as error:
            typer.echo(f"nothing is marked as chosen: {error}", err=True)
    plot_front(record, out, latency_budget_ms=budget, chosen=chosen, reference=reference)
    typer.echo(str(out))
