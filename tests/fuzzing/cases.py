"""Tries, and what they are tries of."""

from __future__ import annotations

import functools
import random
import re
import typing
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import typer
from hypothesis import strategies as st

from tests.fuzzing.bases import BASES, Arguments


@dataclass(frozen=True)
class Case:
    """One try.

    Args:
        target: Name of what is tried.
        command: Name of the command.
        arguments: Its command line.
        edits: New contents of files.
    """

    target: str
    command: str
    arguments: tuple[str, ...]
    edits: Mapping[str, bytes] = field(default_factory=dict)

    def __str__(self) -> str:
        edits = "".join(f"\n  {path}: {_short(content)}" for path, content in self.edits.items())
        return f"nas {' '.join(_short(each) for each in self.arguments)}{edits}"


def _short(text: str | bytes) -> str:
    """A text to read, whose long runs of one sign are counted."""
    counted = re.sub(r"((.{1,2}?)\2{40,})", lambda run: f"<{len(run[1])} of {run[2]}>", repr(text))
    return counted if len(counted) < 3000 else f"{counted[:3000]} ... ({zlib.crc32(counted.encode()):x})"


@dataclass(frozen=True)
class Target:
    """Something to try values on.

    Args:
        name: The command and its option, or the file and its key.
        command: The command that will be run.
        cases: A strategy for the tries; seeds give pools of values in another order.
    """

    name: str
    command: str
    cases: Callable[[int], st.SearchStrategy[Case]]

    def draw(self, seed: int, count: int) -> list[Case]:
        """At most so many different tries; the same ones for the same seed."""
        found: dict[str, Case] = {}

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=count, phases=[hypothesis.Phase.generate], database=None, deadline=None, derandomize=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(self.cases(seed))
        def collect(case: Case) -> None:
            found.setdefault(str(case), case)

        collect()
        return list(found.values())


@functools.cache
def commands() -> dict[str, Any]:
    """Every command of the program by its name, groups spelt out."""
    return dict(_commands(typer.main.get_command(typing.cast(Any, _app())), ""))


def _app() -> object:
    from nas.cli import app

    return app


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def command_line(name: str, command: Any, given: Arguments) -> tuple[str, ...]:
    """The words of a command line; options stand before arguments, which nothing can take for options."""
    options: list[str] = []
    positional: list[str] = []
    for param in command.params:
        if param.name not in given:
            continue
        value = given[param.name]
        if param.param_type_name == "argument":
            positional += [value] if isinstance(value, str) else value
        elif getattr(param, "is_flag", False):
            options += [param.opts[0]] if value else []
        elif param.nargs > 1:
            options += [param.opts[0], *(value if isinstance(value, list) else [value] * param.nargs)]
        else:
            options.append(f"{param.opts[0]}={value}")
    return (*name.split(), *options, "--", *positional)


def base_cases() -> list[Case]:
    """Each command with the arguments with which it works."""
    found = commands()
    return [Case(f"{name}, as it works", name, command_line(name, found[name], BASES[name])) for name in found]


def shuffled(pool: Sequence[Any], seed: int, name: str) -> list[Any]:
    """The pool in an order of its own, since the first is what hypothesis tries first."""
    mixed = list(pool)
    random.Random(zlib.crc32(f"{seed} {name}".encode())).shuffle(mixed)
    return mixed
