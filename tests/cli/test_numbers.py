"""Numbers on the command line are decimal, finite and of 64 bits, in every command there is and will be."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nas.cli import app

NOT_NUMBERS = (
    "1_000",
    "0x10",
    "\uff11\uff10",
    "\u0663",
    " 5",
    "",
    "1e400",
    "nan",
    "inf",
    "9" * 5000,
    "1:30",
    "yes",
    "--5",
)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def numbers() -> Iterator[tuple[str, Any, str, int]]:
    """Each option that takes numbers: the command's name and the command, the option's name, how many it takes."""
    for path, command in commands(typer.main.get_command(app)):
        hints = typing.get_type_hints(inspect.unwrap(command.callback))
        for param in command.params:
            hint = str(hints.get(param.name))
            if "int" in hint or "float" in hint:
                yield " ".join(path), command, param.opts[0], param.nargs


OPTIONS = list(numbers())


def test_there_are_options_of_numbers() -> None:
    assert len(OPTIONS) > 60


@pytest.mark.slow
@pytest.mark.parametrize("text", NOT_NUMBERS, ids=[text[:8] for text in NOT_NUMBERS])
def test_what_is_no_decimal_number_is_refused_by_name(text: str) -> None:
    for name, command, option, nargs in OPTIONS:
        with pytest.raises(typer.BadParameter) as caught:
            command.make_context(name, [option, *["1"] * (nargs - 1), text])
        assert f"Invalid value for '{option}'" in caught.value.format_message(), name


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809"])
def test_whole_numbers_have_64_bits(text: str) -> None:
    result = CliRunner().invoke(app, ["space", "sample", "x.yaml", "--seed", text])
    assert result.exit_code == 2
    assert "does not fit into 64 bits" in result.output


@pytest.mark.parametrize(("option", "most"), [("--threads", 1024), ("--workers", 256)])
def test_no_more_threads_and_processes_than_any_machine_is_for(option: str, most: int) -> None:
    found = [(command, name) for name, command, each, _ in OPTIONS if each == option]
    assert found
    for command, name in found:
        with pytest.raises(typer.BadParameter, match="Input should be less than or equal to"):
            command.make_context(name, [option, str(most + 1)])
