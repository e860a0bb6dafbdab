"""`nas plot`: draw the front of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._study import DEFAULT_STORAGE, StorageOption, StudyOption


def plot(
    study: StudyOption,
    out: Annotated[Path, typer.Option(help="Figure to write: .png, .svg or .pdf.")],
    storage: StorageOption = DEFAULT_STORAGE,
    latency_budget_ms: Annotated[
        float | None, typer.Option(help="Draw this budget and mark what it would pick.")
    ] = None,
) -> None:
    """Draw every architecture scored, and the front."""
    from nas.report import plot_front
    from nas.search import load_study

    record = load_study(storage, study)
    budget_ms = record.latency_budget_ms if latency_budget_ms is None else latency_budget_ms
    met = budget_ms is not None and any(member.latency_ms <= budget_ms for member in record.front)
    chosen = record.best_within(budget_ms).architecture if met and budget_ms is not None else None
    plot_front(record, out, latency_budget_ms=budget_ms, chosen=chosen)
    typer.echo(str(out))
