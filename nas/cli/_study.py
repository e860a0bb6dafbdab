"""The options by which `search`, `front`, `plot` and `pick` name a study."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nas.search import StudyRecord

StudyOption = Annotated[str, typer.Option("--study", help="Name of the study.")]
StorageOption = Annotated[
    str, typer.Option("--storage", help="SQLite file of the study, or for many workers postgresql://user@host/base.")
]
DEFAULT_STORAGE = "study.db"


def show_front(record: StudyRecord) -> None:
    """Print the front of a study as a table."""
    from nas.cli._common import emit_table

    arrow = "lower is better" if record.direction == "minimize" else "higher is better"
    title = f"front of {record.name}: {record.quality} ({arrow}); latency on {record.device}, {record.steps} steps"
    emit_table(title, [member.to_dict() for member in record.front])
