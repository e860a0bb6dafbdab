"""`nas report`: an interactive page of a run or of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli._paths import READS_SPACE, READS_TABLE, WritesFile
from nas.cli._study import OneStudyOption, RunOrStudyArgument, only_study

if TYPE_CHECKING:
    from nas.report import Report


def report(
    source: RunOrStudyArgument,
    out: Annotated[Path, typer.Option(parser=WritesFile((".html",)), help="Page to write (.html).")],
    study: OneStudyOption = None,
    space: Annotated[
        Path | None,
        typer.Option(parser=READS_SPACE, help="Search space (YAML) of the study; adds what was not scored."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            parser=READS_TABLE, help="Latency table (CSV) of the study; with --space, shows where the time goes."
        ),
    ] = None,
) -> None:
    """Write one HTML file with all that a run or a study knows: it works offline, and needs no server."""
    from nas.errors import ConfigError
    from nas.files import user_path
    from nas.pipeline.report import run_report
    from nas.report import write_report

    if table is not None and space is None:
        raise ConfigError("--table needs --space", where="options")
    folder = Path(user_path(source))
    if not folder.is_dir():
        made = _of_study(source, study, space, table)
    elif study is None and space is None:
        made = run_report(folder)
    else:
        raise ConfigError("a run knows its study and its space: leave --study, --space and --table out", where=source)
    for sentence in made.missing:
        typer.echo(sentence, err=True)
    typer.echo(str(write_report(made, out)))


def _of_study(storage: str, name: str | None, space_path: Path | None, table: Path | None) -> Report:
    """The report of a study in a storage."""
    from nas.errors import ConfigError
    from nas.latency import LatencyPredictor
    from nas.report import study_report
    from nas.search import load_study
    from nas.space import SearchSpace

    record = load_study(storage, name or only_study(storage))
    space = None if space_path is None else SearchSpace.load(space_path)
    if space is not None and space.name != record.space:
        raise ConfigError(f"is the space {space.name}, the study searched {record.space}", where=space_path)
    predictor = None if space is None or table is None else LatencyPredictor.open(space, table, record.steps)
    known = [record.device, *(device.device for device in record.devices.values())]
    if predictor is not None and predictor.table.metadata.device_text not in known:
        device = predictor.table.metadata.device_text
        raise ConfigError(f"is of {device}, the study is for {' and '.join(dict.fromkeys(known))}", where=table)
    return study_report(record, space=space, predictor=predictor)
