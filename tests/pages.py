"""What the pages of the documents hold: blocks of commands and code, and what stands before them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4}.*\n(?:(?:^(?: {4}.*)?\n)*^ {4}.*\n)?", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page: its language ("" for an indented one), its text, and the paragraph before it."""

    page: Path
    language: str
    text: str
    before: str

    @property
    def reason(self) -> str | None:
        """Why a test does not run it, as the page says."""
        found = re.fullmatch(r"<!-- not run: (.+) -->", self.before)
        return found[1] if found else None

    @property
    def file(self) -> str | None:
        """The file that the page says to save it to: the last one named before it."""
        named = re.findall(r"`([\w.]+\.\w+)`", self.before)
        return named[-1] if named else None

    def commands(self) -> list[list[str]]:
        """The words of each command; lines that end with a backslash continue."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [shlex.split(line, comments=True) for line in lines if line.strip()]


def blocks(page: Path) -> Iterator[Block]:
    """Fenced and indented blocks of a page, in order."""
    text = page.read_text()
    fenced = [(match.start(), match.end(), match[1], match[2]) for match in FENCE.finditer(text)]
    inside = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    plain = inside.sub(lambda match: re.sub(r"[^\n]", "x", match[0]), text)
    indented = [(m.start(), m.end(), "", re.sub(r"^ {4}", "", m[0], flags=re.MULTILINE)) for m in _indented(plain)]
    for start, _, language, code in sorted(fenced + indented):
        yield Block(page, language, code.strip("\n") + "\n", text[:start].rstrip().rpartition("\n\n")[2])


def _indented(text: str) -> Iterator[re.Match[str]]:
    """Indented text is a block after an empty line, unless a list goes on."""
    for match in INDENTED.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        if text[: match.start()].endswith("\n\n") and not re.match(r"\s*(-|\d+\.) ", before):
            yield match


def nas_commands(page: Path) -> Iterator[list[str]]:
    """The words after `nas` of every command of a page, with or without a prompt."""
    for block in blocks(page):
        if block.language in ("", "bash", "console"):
            code = block.text.replace("\\\n", " ")
            for line in re.findall(r"^(?:\$ )?(?:exec )?nas (.+)$", code, re.MULTILINE):
                yield shlex.split(line, comments=True)
