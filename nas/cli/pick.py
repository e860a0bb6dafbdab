"""`nas pick`: take one architecture from the front of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._budgets import METAVAR, PER_DEVICE, latency_budget
from nas.cli._common import JsonOption, emit_facts, emit_json, emit_table
from nas.cli._paths import WritesFile
from nas.cli._study import (
    DEFAULT_STORAGE,
    ExactOption,
    SearchScoresOption,
    StorageOption,
    StudyOption,
    device_rows,
    load_record,
    member_facts,
)


def pick(
    study: StudyOption,
    out: Annotated[Path, typer.Option(parser=WritesFile(), help="Architecture file to write (YAML).")],
    storage: StorageOption = DEFAULT_STORAGE,
    latency_budget_ms: Annotated[
        list[str] | None,
        typer.Option(
            metavar=METAVAR,
            help=f"Take the best architecture whose latency per clip is within this budget; {PER_DEVICE}.",
        ),
    ] = None,
    knee: Annotated[
        bool, typer.Option("--knee", help="Take the knee of the front: beyond it, more latency buys little quality.")
    ] = False,
    exact: ExactOption = False,
    search_scores: SearchScoresOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one architecture of the front: the best within a latency budget, or the knee. One of the two is needed.

    If the noise of the scores cannot tell it from a faster member, the fastest of these is taken (see --exact).
    """
    from nas.errors import ConfigError
    from nas.search import choose, choose_by_score

    budget = latency_budget(latency_budget_ms)
    if knee == (budget is not None):
        raise ConfigError("give either --latency-budget-ms or --knee", where="options")
    record = load_record(storage, study, search_scores=search_scores)
    choice = (choose_by_score if exact else choose)(record, budget)
    choice.member.architecture.save(out)
    if as_json:
        row = {"file": str(out), **choice.member.to_dict()}
        emit_json({**row, "by_score": choice.by_score.to_dict(), "reason": choice.sentence() or None})
        return
    title = f"picked; share is the {record.second_text}" if record.of_shares else "picked"
    emit_facts(title, {"file": str(out), **member_facts(choice.member, record)})
    if on_devices := device_rows(choice.member, record):
        emit_table(f"{choice.member.architecture.id} on each device", on_devices)
    if choice.sentence():
        typer.echo(f"{choice.sentence()} (--exact takes the other)")
