"""Checks a built site as a browser would: every link and every anchor leads somewhere, every page can be reached."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

UNLINKED = {"404.html"}


class _Page(HTMLParser):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        if link := given.get("href" if tag in ("a", "link") else "src"):
            self.links.append(link)


def problems(site: Path) -> list[str]:
    """What is wrong with the pages below a folder, a line each."""
    pages = {file: _Page(file) for file in sorted(site.rglob("*.html"))}
    found, targets = [], {file: set[Path]() for file in pages}
    for file, page in pages.items():
        if file.name in UNLINKED:  # the server shows it at any depth: its links are absolute
            continue
        for link in page.links:
            target, problem = _follow(link, file, site, pages)
            found += [f"{file.relative_to(site)}: {link}: {problem}"] if problem else []
            targets[file] |= {target} if target in pages else set()
    reached = _reached(site / "index.html", targets)
    unreached = [file for file in pages if file not in reached and file.name not in UNLINKED]
    return sorted(set(found)) + [f"{file.relative_to(site)}: no link leads to it" for file in unreached]


def _follow(link: str, file: Path, site: Path, pages: dict[Path, _Page]) -> tuple[Path, str]:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return file, ""
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file() or not target.is_relative_to(site.resolve()):
        return target, "no such file"
    anchor = unquote(parts.fragment)
    # Lines of code have anchors that Pygments makes: __codelineno-1-2.
    if anchor and target in pages and anchor not in pages[target].anchors and not re.match("__codelineno", anchor):
        return target, "no such anchor"
    return target, ""


def _reached(start: Path, targets: dict[Path, set[Path]]) -> set[Path]:
    reached, waiting = set[Path](), [start]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += targets[page]
    return reached
