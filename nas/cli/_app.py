"""The application that all verbs belong to: the values of options and arguments are checked before a verb runs.

Numbers are decimal, finite and of 64 bits; Python, and the libraries that parse a command line, would take `1_000`,
`nan` and digits of any script, too. Paths are checked by `nas.cli._paths`.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.core import TyperCommand

from nas.cli._paths import checking
from nas.validation import decimal_float, decimal_int

_READERS: dict[Any, Callable[[str], object]] = {int: decimal_int, float: decimal_float}


class Verb(TyperCommand):
    """A command that looks at the texts of its numbers before they are converted."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Convert and check the arguments.

        Raises:
            typer.BadParameter: One is wrong; the message names it.
        """
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.params:
            kinds = _kinds(self.callback).get(str(param.name), ())
            for text in _texts(given.get(str(param.name))):
                for kind in kinds:
                    _check(kind, text, ctx, param)
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """A group of verbs."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """As `typer.Typer.command`, for verbs."""
        register = functools.partial(super().command, name, **({"cls": Verb} | settings))

        def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
            register(help=_paragraphs(inspect.getdoc(verb) or ""))(checking(verb))
            return verb

        return decorate


def _paragraphs(text: str) -> str:
    """A text whose paragraphs are one line each: the terminal, not the source, decides where lines end."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _kinds(callback: Callable[..., Any] | None) -> dict[str, tuple[Any, ...]]:
    """The types of numbers in each parameter's annotation."""
    hints = {} if callback is None else typing.get_type_hints(inspect.unwrap(callback))
    return {
        name: tuple(dict.fromkeys(kind for kind in _parts(hint) if kind in _READERS)) for name, hint in hints.items()
    }


def _parts(hint: Any) -> Iterator[Any]:
    inner = typing.get_args(hint)
    if not inner:
        yield hint
    for part in inner:
        yield from _parts(part)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _check(kind: Any, text: str, context: Any, param: Any) -> None:
    try:
        _READERS[kind](text)
    except ValueError as problem:
        raise typer.BadParameter(str(problem), ctx=context, param=param) from problem
