"""The report at the end of a run: sections of text, tables and pictures, as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import html
import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.errors import StorageError
from nas.files import write_text
from nas.formatting import Cell, cell_text

MIME = {".png": "image/png", ".gif": "image/gif", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}


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


def write_summary(path: str | Path, sections: Sequence[Section], *, title: str) -> tuple[Path, Path]:
    """Write a report twice: as Markdown that links its pictures, and as HTML that contains them.

    Args:
        path: Either file's path; the suffixes .md and .html are put in place of its own.
        sections: In the order of reading.
        title: Heading of the whole.

    Returns:
        The Markdown and the HTML file.

    Raises:
        StorageError: A picture cannot be read, or a file not be written.
    """
    markdown, page = Path(path).with_suffix(".md"), Path(path).with_suffix(".html")
    body = "".join(_html_section(section) for section in sections)
    write_text(page, _PAGE.format(title=html.escape(title), style=_STYLE, body=body))
    parts = [f"# {_plain(title)}\n", *(_markdown_section(section, markdown.parent) for section in sections)]
    write_text(markdown, "\n".join(parts))
    return markdown, page


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


def _html_section(section: Section) -> str:
    paragraphs = "".join(f"<p>{html.escape(part.strip())}</p>\n" for part in section.text.split("\n\n") if part.strip())
    pictures = "".join(_html_picture(picture) for picture in section.pictures)
    gallery = f'<div class="pictures">\n{pictures}</div>\n' if pictures else ""
    heading = f"<h2>{html.escape(section.title)}</h2>\n"
    return f"<section>\n{heading}{paragraphs}{_html_table(section.rows)}{gallery}</section>\n"


def _html_table(rows: Sequence[Mapping[str, Cell]]) -> str:
    if not rows:
        return ""
    marks = {name: ' class="number"' if _numeric(rows, name) else "" for name in rows[0]}
    head = "".join(f"<th{mark}>{html.escape(name)}</th>" for name, mark in marks.items())
    cells = ([f"<td{mark}>{html.escape(cell_text(row[name]))}</td>" for name, mark in marks.items()] for row in rows)
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in cells)
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n'


def _html_picture(picture: Picture) -> str:
    kind = MIME.get(picture.path.suffix.lower())
    if kind is None:
        raise StorageError(f"not a picture of a known kind ({', '.join(MIME)})", where=picture.path)
    try:
        data = base64.b64encode(picture.path.read_bytes()).decode("ascii")
    except OSError as error:
        raise StorageError(f"cannot read the picture: {error.strerror}", where=picture.path) from error
    caption = html.escape(picture.caption)
    return f'<figure><img src="data:{kind};base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n'


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


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #eee; text-align: left; vertical-align: top; }
th { color: #666; font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #666; font-size: 0.85rem; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}</body>
</html>
"""
