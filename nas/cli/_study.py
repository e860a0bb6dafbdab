"""The options by which verbs name a study, and how its front is shown."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._paths import ReadsStorage, WritesStorage

if TYPE_CHECKING:
    from nas.search import StudyRecord
    from nas.search.history import HypervolumeHistory

StudyOption = Annotated[str, typer.Option("--study", help="Name of the study.")]
_STORAGE_HELP = "SQLite file of the study, or postgresql://user@host/base for many workers."
StorageOption = Annotated[str, typer.Option("--storage", parser=ReadsStorage(), help=_STORAGE_HELP)]
StorageToWrite = Annotated[str, typer.Option("--storage", parser=WritesStorage(), help=_STORAGE_HELP)]
SearchScoresOption = Annotated[
    bool, typer.Option("--search-scores", help="Use the front of the search, not that of `nas rescore`.")
]
ExactOption = Annotated[
    bool, typer.Option("--exact", help="Go by the scores alone, even where their noise leaves the order open.")
]
ReferenceOption = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="QUALITY MS",
        help="Reference point of the hypervolume (default: the worst quality and latency scored).",
    ),
]
DEFAULT_STORAGE = "study.db"
_HEADS = {"standard_error": "SE", "from_previous": "step"}
"""Short heads of columns, because a table of a front is wide."""


def check_budget(latency_budget_ms: float | None) -> None:
    """Refuse an impossible budget.

    Raises:
        ConfigError: It is not a positive number.
    """
    from nas.errors import ConfigError

    if latency_budget_ms is not None and not (latency_budget_ms > 0 and math.isfinite(latency_budget_ms)):
        raise ConfigError(f"--latency-budget-ms: expected milliseconds above zero, got {latency_budget_ms:g}",
                          where="options")  # fmt: skip


def load_record(storage: str, study: str, *, search_scores: bool) -> StudyRecord:
    """Read a study; with `search_scores`, without the scores of `nas rescore`."""
    from nas.search import load_study

    record = load_study(storage, study)
    return record.searched if search_scores else record


def front_document(record: StudyRecord, reference: tuple[float, float] | None = None) -> dict[str, Any]:
    """The front of a study and what is needed to interpret it, as plain data."""
    from nas.search import hypervolume_history
    from nas.search.neighbours import front_rows

    history = hypervolume_history(record, reference)
    names = ("space", "quality", "direction", "device", "runtime", "steps", "latency_budget_ms", "failed")
    return {
        "study": record.name,
        **{name: getattr(record, name) for name in names},
        "provenance": list(record.provenance),
        "evaluations": len(record.evaluations),
        "waiting": record.waiting,
        "hypervolume": None if history is None else _hypervolume(history),
        "agreement": None if record.agreement is None else asdict(record.agreement),
        "front": front_rows(record),
    }


def show_front(record: StudyRecord, reference: tuple[float, float] | None = None) -> None:
    """Print the front of a study as a table, its hypervolume, and what the noise of the scores leaves of the order."""
    from nas.cli._common import emit_table
    from nas.search import hypervolume_history
    from nas.search.neighbours import steps_sentence

    # First, because it may refuse the reference, and nothing should be printed then.
    history = hypervolume_history(record, reference)
    arrow = "lower is better" if record.direction == "minimize" else "higher is better"
    source = f"{' and '.join(record.provenance)} latency on {record.device}, {record.runtime}"
    steps = "" if record.one_call else f", {record.steps} steps"
    emit_table(f"front of {record.name}: {record.quality} ({arrow}); {source}{steps}", _rows(record))
    if history is not None:
        typer.echo(hypervolume_text(history))
    noise = (steps_sentence(record), "" if record.agreement is None else record.agreement.sentence())
    for sentence in filter(None, noise):
        typer.echo(sentence)
    if record.waiting:
        typer.echo(f"{record.waiting} members of the search's front are not scored again yet; `nas rescore` continues")


def _rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The members, without columns that are unknown, or equal for all of them and in the title."""
    from nas.search.neighbours import front_rows, step_text

    rows = front_rows(record)
    said = {"runtime": record.runtime, "provenance": record.provenance[0], "parameters": None} if rows else {}
    told = {name for name, value in said.items() if all(row[name] == value for row in rows)}
    cells = ({**row, "from_previous": step_text(row["from_previous"])} for row in rows)
    return [{_HEADS.get(name, name): value for name, value in row.items() if name not in told} for row in cells]


def hypervolume_text(history: HypervolumeHistory) -> str:
    """The hypervolume of a front and what it refers to, in a sentence."""
    quality, latency_ms = history.reference
    return f"hypervolume {history.values[-1]:.6g} up to quality {quality:.6g} and {latency_ms:,.6g} ms"


def _hypervolume(history: HypervolumeHistory) -> dict[str, Any]:
    quality, latency_ms = history.reference
    return {"value": history.values[-1], "reference": {"quality": quality, "latency_ms": latency_ms}}
