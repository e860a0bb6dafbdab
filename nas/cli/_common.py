"""Shared by the commands: arguments, and printing as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nas.cli._paths import READS
from nas.formatting import cell_text, finite_or_null, printable
from nas.progress import is_first_process

SpaceArgument = Annotated[Path, typer.Argument(parser=READS, metavar="SPACE", help="Search space (YAML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
SeedOption = Annotated[int, typer.Option(help="Seed; equal seeds give equal results.")]
TableOption = Annotated[Path, typer.Option(parser=READS, help="Latency table (CSV) made by `nas profile`.")]


def emit_json(value: Any) -> None:
    """Print plain data as JSON on standard output, once; a number that is not finite is null."""
    if not is_first_process():
        return
    sys.stdout.write(json.dumps(finite_or_null(value), indent=2, allow_nan=False) + "\n")


def emit_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of equal keys as a table on standard output, once; numbers are aligned right."""
    if not is_first_process():
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Text of a user is given as Text: what looks like markup in it, or like the name of an emoji, stays what it is.
    table = Table(title=Text(printable(title)), title_justify="left")
    for name in rows[0] if rows else ():
        numeric = isinstance(rows[0][name], int | float)
        table.add_column(Text(printable(name)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell_text(value))) for value in row.values()))
    Console().print(table)
