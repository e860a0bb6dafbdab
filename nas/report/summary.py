"""The report at the end of a run as Markdown: sections of text, tables and pictures."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.files import write_text
from nas.formatting import Cell, cell_text


@dataclass(frozen=True)
class Picture:
    """An image file with what is seen on it.

    Args:
        path: PNG, GIF, JPEG or SVG.
        caption: A sentence.
    """

    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Args:
        title: Heading.
        text: Paragraphs, separated by empty lines; plain text.
        rows: A table: rows of equal keys, which head its columns.
        pictures: Shown below the table.
    """

    title: str
    text: str = ""
    rows: Sequence[Mapping[str, Cell]] = ()
    pictures: Sequence[Picture] = ()


def write_summary(path: str | Path, sections: Sequence[Section], *, title: str) -> Path:
    """Write a report as Markdown that links its pictures.

    Args:
        path: The file; the suffix .md is put in place of its own.
        sections: In the order of reading.
        title: Heading of the whole.

    Returns:
        The file.

    Raises:
        StorageError: The file cannot be written.
    """
    markdown = Path(path).with_suffix(".md")
    parts = [f"# {_plain(title)}\n", *(_markdown_section(section, markdown.parent) for section in sections)]
    write_text(markdown, "\n".join(parts))
    return markdown


def _markdown_section(section: Section, folder: Path) -> str:
    lines = [f"## {_plain(section.title)}", ""]
    if section.text:
        lines += [*(_plain_line(line) for line in section.text.splitlines()), ""]
    if section.rows:
        names = list(section.rows[0])
        lines.append(f"| {' | '.join(map(_plain, names))} |")
        lines.append(f"|{'|'.join(' ---: ' if _numeric(section.rows, name) else ' --- ' for name in names)}|")
        lines += [f"| {' | '.join(_plain(cell_text(row[name])) for name in names)} |" for row in section.rows]
        lines.append("")
    for picture in section.pictures:
        # A link must work wherever the folder is moved to, and in Markdown separators are slashes.
        target = _link(os.path.relpath(picture.path, folder).replace(os.sep, "/"))
        lines += [f"![{_plain(picture.caption)}](<{target}>)", "", f"*{_plain(picture.caption)}*", ""]
    return "\n".join(lines)


def _numeric(rows: Sequence[Mapping[str, Cell]], name: str) -> bool:
    values = [row[name] for row in rows if row[name] is not None]
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line; within a word, an underscore is not markup."""
    return " ".join(re.sub(r"[\\`*\[\]<>|#$&~]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\\g<0>", text).split())


def _plain_line(line: str) -> str:
    """A line of a paragraph: at its beginning, more means something to Markdown, such as the sign of a list."""
    return re.sub(r"^([-+=:])|^(\d{1,9})([.)])", r"\2\\\1\3", _plain(line)) if line.strip() else ""


def _link(path: str) -> str:
    """A relative path as the target of a link."""
    return re.sub(r"[\s<>\"%#?\\`]", lambda match: urllib.parse.quote(match[0]), path)
