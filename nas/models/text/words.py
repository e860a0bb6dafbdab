"""The words of a caption in any script, which the learned text encoder reads.

A caption is first converted to Unicode's normal form C, so that the same text is the same sequence of characters on
every system. Form KC would also change visible characters (`²` to 2). C changes nothing visible, and does not change
the tokens of captions that are in it already, as nearly all are.

- Adjacent letters and numbers, with their marks, are a word.
- A symbol outside ASCII, for example an emoji, is a word, together with its skin tone and what is joined to it.
- Everything else separates words: spaces, punctuation, and the symbols of ASCII.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from typing import Final

PAD: Final = 0
START: Final = 1
RESERVED: Final = 2
"""Numbers of the tokens for padding and for the start of a caption, and how many numbers are no words."""

_ASCII_WORD = re.compile(r"[^\W_]+")
_WORD = re.compile(r"w(?:[wm]|j(?=w))*|s[mt]*(?:js[mt]*)*")
"""A word in a string of character kinds: letters with their marks, or a symbol and what is joined to it."""

_JOINER = "\u200d"
_PRESENTATION = dict.fromkeys(map(ord, "\ufe0e\ufe0f"))
"""Selectors that say whether a symbol is shown in colour; the symbol is the same."""


def words(caption: str) -> list[str]:
    """The words of a caption, lower-case, in order."""
    if caption.isascii():
        return _ASCII_WORD.findall(caption.lower())
    lower = unicodedata.normalize("NFC", caption).lower()
    text = unicodedata.normalize("NFC", lower).translate(_PRESENTATION)
    return [text[match.start() : match.end()] for match in _WORD.finditer("".join(map(_kind, text)))]


def token_numbers(caption: str, tokens: int, vocabulary: int) -> list[int]:
    """The start token and the numbers of a caption's words, cut or padded to `tokens`.

    Words are hashed (CRC-32 of their UTF-8 text) into the numbers of the vocabulary that are not reserved.
    """
    buckets = vocabulary - RESERVED
    numbers = [START, *(RESERVED + zlib.crc32(word.encode()) % buckets for word in words(caption))]
    return (numbers + [PAD] * tokens)[:tokens]


def _kind(character: str) -> str:
    """The kind of a character: letter or number, mark, symbol, skin tone, joiner, or separator (a space)."""
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
