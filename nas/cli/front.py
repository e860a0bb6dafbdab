"""`nas front`: print the front of a study."""

from __future__ import annotations

import typer

from nas.cli._common import JsonOption, emit_json
from nas.cli._study import (
    DEFAULT_STORAGE,
    ReferenceOption,
    SearchScoresOption,
    StorageOption,
    StudyOption,
    front_document,
    load_record,
    show_front,
)


def front(
    study: StudyOption,
    storage: StorageOption = DEFAULT_STORAGE,
    search_scores: SearchScoresOption = False,
    reference: ReferenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the architectures that no other architecture beats in both quality and latency, and their hypervolume."""
    from nas.search.results.record import empty_front

    record = load_record(storage, study, search_scores=search_scores).final
    if as_json:
        emit_json(front_document(record, reference))
    elif record.front:
        show_front(record, reference)
    else:
        typer.echo(empty_front(record))
