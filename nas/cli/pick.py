"""`nas pick`: take one architecture from the front of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli._common import JsonOption, emit_json, emit_table
from nas.cli._paths import WritesFile
from nas.cli._study import DEFAULT_STORAGE, SearchScoresOption, StorageOption, StudyOption, check_budget, load_record


def pick(
    study: StudyOption,
    out: Annotated[Path, typer.Option(parser=WritesFile(), help="Architecture file to write (YAML).")],
    storage: StorageOption = DEFAULT_STORAGE,
    latency_budget_ms: Annotated[
        float | None, typer.Option(help="Take the best architecture whose latency per clip is within this budget.")
    ] = None,
    knee: Annotated[
        bool, typer.Option("--knee", help="Take the knee of the front: beyond it, more latency buys little quality.")
    ] = False,
    search_scores: SearchScoresOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one architecture of the front: the best within a latency budget, or the knee. One of the two is needed."""
    from nas.errors import ConfigError
    from nas.search import pick as pick_member

    if knee == (latency_budget_ms is not None):
        raise ConfigError("give either --latency-budget-ms or --knee", where="options")
    check_budget(latency_budget_ms)
    member = pick_member(load_record(storage, study, search_scores=search_scores), latency_budget_ms)
    member.architecture.save(out)
    row = {"file": str(out), **member.to_dict()}
    if as_json:
        emit_json(row)
    else:
        emit_table("picked", [row])
