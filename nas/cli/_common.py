"""Shared by the commands: arguments, and printing as a table or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._paths import READS_SPACE, READS_TABLE
from nas.formatting import cell_text, finite_or_null, printable
from nas.progress import is_first_process

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SpaceArgument = Annotated[Path, typer.Argument(parser=READS_SPACE, metavar="SPACE", help="Search space (YAML).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
SeedOption = Annotated[int, typer.Option(help="Seed; equal seeds give equal results.")]
DenoisingStepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Denoising steps (default: the model's own).")
]
GuidanceOption = Annotated[
    float | None, typer.Option(min=1, help="Scale of classifier-free guidance (default: the model's own).")
]
TableOption = Annotated[Path, typer.Option(parser=READS_TABLE, help="Latency table (CSV) made by `nas profile`.")]

FRAME = 3
"""Letters that the frame of a table adds to each column."""


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
    console, table = Console(), Table()
    columns = {name: [printable(cell_text(row[name])) for row in rows] for name in (rows[0] if rows else ())}
    words = {name: max(len(word) for text in (name, *cells) for word in text.split() or [""])
             for name, cells in columns.items()}  # fmt: skip
    # Where there is room for all words, no word is broken to give other columns more room.
    roomy = sum(words.values()) + FRAME * len(words) + 1 <= console.width
    for name in columns:
        numeric = isinstance(rows[0][name], int | float)
        table.add_column(Text(printable(name)), justify="right" if numeric else "left", overflow="fold",
                         min_width=words[name] if roomy else None)  # fmt: skip
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    _print(console, title, table)


def emit_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print names and values below each other on standard output, once; what is unknown is left out."""
    if not is_first_process():
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    for name, value in facts.items():
        if value is not None:
            table.add_row(*(Text(printable(text), overflow="fold") for text in (name, cell_text(value))))
    _print(Console(), title, table)


def _print(console: Console, title: str, table: Table) -> None:
    """Print a table below its title, which may be wider than a table of few columns."""
    from rich.text import Text

    console.print(Text(printable(title), style="italic"))
    console.print(table)
