"""The words of a caption in any script: what the learned text encoder reads.

A caption is put in Unicode's normal form C first: one text then is one sequence of characters, however a system spells
its accents. Form KC would go further and also make `ﬁ` of one character two, or `²` a plain 2; C changes nothing that a
reader could see, and leaves captions that already are in it, as nearly all are, the tokens they have had.

- Letters and numbers, with the marks that belong to them, are words where they stand together.
- A symbol outside ASCII, such as an emoji, is a word of its own; with it go skin tones and what is joined to it.
- All else separates: spaces, punctuation, and the symbols of ASCII.
"""

from __future__ import annotations

import re
import unicodedata

_ASCII_WORD = re.compile(r"[^\W_]+")
_WORD = re.compile(r"w(?:[wm]|j(?=w))*|s[mt]*(?:js[mt]*)*")
"""A word among the kinds of a caption's characters: letters with their marks, or a symbol and what is joined to it."""

_JOINER = "\u200d"
_PRESENTATION = dict.fromkeys(map(ord, "\ufe0e\ufe0f"))
"""Selectors that say whether a symbol is shown in colour; the symbol is the same."""


def words(caption: str) -> list[str]:
    """The words of a caption, lower-case, in order."""
    if caption.isascii():
        return _ASCII_WORD.findall(caption.lower())
    lower = unicodedata.normalize("NFC", caption).lower()
    text = unicodedata.normalize("NFC", lower).translate(_PRESENTATION)
    return [text[found.start() : found.end()] for found in _WORD.finditer("".join(map(_kind, text)))]


def _kind(character: str) -> str:
    """What a character is to words: part of one, mark, symbol, skin tone, joiner, or what separates (a space)."""
    if character.isalnum():
        return "w"
    if character == _JOINER:
        return "j"
    category = unicodedata.category(character)
    if category[0] == "M":
        return "m"
    if "\U0001f3fb" <= character <= "\U0001f3ff":
        return "t"
    return "s" if category[0] == "S" and not character.isascii() else " "
