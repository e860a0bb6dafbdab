"""The command reference, in Markdown, read from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from nas.cli import app

INTRODUCTION = """# Commands

What `nas --help` and `nas COMMAND --help` print, on one page. It is made from the commands whenever this site is built.
Exit codes: 0 success; 2 something that you can solve, said in one line; 1 a defect of `nas`.
"""


def reference() -> str:
    """All commands of `nas`, groups before their members, as one page."""
    return "\n".join([INTRODUCTION, *(_section(name, command) for name, command in commands())])


def commands() -> Iterator[tuple[str, Any]]:
    """Name as it is typed, such as `nas space show`, and command, of all groups and commands."""
    root = typer.main.get_command(app)
    yield from _below("nas", root)


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for part, member in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {part}", member)


def _section(name: str, command: Any) -> str:
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context))
    level = "#" * min(len(name.split()) + 1, 3)
    parts = [f"{level} {name}", f"```text\n{name} {usage}\n```", _plain(command.help)]
    parts += [_table(kind, [p for p in command.params if p.param_type_name == kind]) for kind in ("argument", "option")]
    if members := getattr(command, "commands", {}):
        parts.append(", ".join(f"[`{name} {part}`](#{name.replace(' ', '-')}-{part})" for part in members))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(kind: str, parameters: list[Any]) -> str:
    if not parameters:
        return ""
    rows = [f"| `{_names(parameter)}` | {_cell(parameter)} |" for parameter in parameters]
    return "\n".join([f"| {kind} | |", "| --- | --- |", *rows])


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.make_metavar(None)) if parameter.metavar is None else str(parameter.metavar)
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def _cell(parameter: Any) -> str:
    notes = ["Required."] if parameter.required else []
    default = parameter.default
    if not (default is None or default is False or callable(default) or parameter.required or default in ("", [], ())):
        notes = [f"Default: `{getattr(default, 'value', default)}`."]
    return " ".join([_plain(parameter.help), *notes]).replace("|", "\\|").strip()


def _plain(text: str | None) -> str:
    """Help as one paragraph per block of it, without a terminal's marks."""
    blocks = (text or "").replace("\b", "").split("\f")[0].split("\n\n")
    return "\n\n".join(" ".join(block.split()) for block in blocks).replace("<", "&lt;")
