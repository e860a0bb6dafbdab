"""Text in figures as it was written: none of it is markup, and what the fonts of this machine lack is spelt out.

A prompt may hold `$`, which matplotlib takes for the bounds of a formula, and letters of any script. matplotlib draws a
letter that a font lacks as a box, and warns of it each time.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import unicodedata
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

_FALLBACK = "DejaVu Sans"
"""Comes with matplotlib, and has most letters of its fonts."""

_LAST_RESORT = "LastResort"
"""Part of the file name of a font that has a box for every letter."""


class PlainFigure(Figure):
    """A figure that draws all its text as it is written."""

    def draw(self, renderer: Any) -> None:
        """See matplotlib; text is looked at first, because the layout depends on it."""
        with mpl.rc_context({"text.parse_math": False}), _quiet_fonts():  # also for what is made while drawing
            _letter(self)
            super().draw(renderer)


@contextlib.contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Keep matplotlib from telling that a font to fall back on has no such weight."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def spelt_out(text: str, families: tuple[str, ...] = (_FALLBACK,)) -> str:
    """Text without the characters that no font here can draw: a symbol by its name, a letter by its number.

    Args:
        text: What is to be drawn; line breaks stay.
        families: Fonts that are looked at first.
    """
    held = _held(families)
    return "".join(
        character if character == "\n" or ord(character) in held or _font_with(character) else _name(character)
        for character in text
    )


def _letter(figure: Figure) -> None:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        # Labels of ticks are made again while drawing, and hold numbers and names of layers and slots, which are ASCII.
        text.set_parse_math(False)
        if not text.get_text().isascii():
            families = (*text.get_fontfamily(), _FALLBACK)
            text.set_text(spelt_out(text.get_text(), families))
            text.set_fontfamily([*families, *_more_fonts(text.get_text(), families)])


def _more_fonts(text: str, families: tuple[str, ...]) -> list[str]:
    """Families to fall back on, beside some that are used already."""
    held = _held(families)
    missing = (letter for letter in text if ord(letter) not in held and letter != "\n")
    return list(dict.fromkeys(family for family in map(_font_with, missing) if family is not None))


@functools.cache
def _font_with(character: str) -> str | None:
    """The first family of this machine with a character, by name; `None` where none has it."""
    entries = sorted((entry for entry in fontManager.ttflist if _LAST_RESORT not in entry.fname), key=_plainness)
    return next((entry.name for entry in entries if ord(character) in _characters(entry.fname)), None)


def _plainness(entry: FontEntry) -> tuple[bool, bool, str, str]:
    """Upright fonts of usual weight first, then by name."""
    return (entry.style != "normal", str(entry.weight) not in {"400", "normal"}, entry.name, entry.fname)


@functools.cache
def _held(families: tuple[str, ...]) -> frozenset[int]:
    """What some families can draw between them."""
    return frozenset(code for family in families for code in _characters(_file(family)))


@functools.cache
def _file(family: str) -> str:
    return str(findfont(FontProperties(family=[family])))


@functools.cache
def _characters(file: str) -> frozenset[int]:
    """What a font can draw; nothing where matplotlib cannot use it, such as one of coloured pictures."""
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        font = get_font(file)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    return frozenset()


def _name(character: str) -> str:
    """A character in words of ASCII."""
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp", "Zs"}:
        return " "
    if category in {"Cf", "Mn", "Me"}:  # seen as a change of their neighbours, if at all
        return ""
    name = unicodedata.name(character, "").lower()
    return f"[{name}]" if category[0] == "S" and name else f"[U+{ord(character):04X}]"
