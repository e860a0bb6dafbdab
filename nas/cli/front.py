"""`nas front`: print the front of a study."""

from __future__ import annotations

import typer

from nas.cli._common import JsonOption, emit_json
from nas.cli._study import DEFAULT_STORAGE, StorageOption, StudyOption, show_front


def front(study: StudyOption, storage: StorageOption = DEFAULT_STORAGE, as_json: JsonOption = False) -> None:
    """Print the architectures that no other one beats in both quality and latency."""
    from nas.search import empty_front, load_study

    record = load_study(storage, study)
    if as_json:
        emit_json([member.to_dict() for member in record.front])
    elif record.front:
        show_front(record)
    else:
        typer.echo(empty_front(record))
