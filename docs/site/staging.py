"""Lays out the pages of the site: those of `docs/`, generated ones, and a page for each file that they link to."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from docs.site import api, commands
from docs.site.offline import write_search_worker

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#\s])")
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
TEXT = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash", ".csv": "text", ".md": "markdown"}


class Staging:
    """Writes the sources of the site to a folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.linked: set[Path] = set()

    def write(self) -> None:
        """Write all pages. What was in the folder is removed."""
        shutil.rmtree(self.out, ignore_errors=True)
        for source in sorted(DOCS.rglob("*")):
            if source.is_file() and "site" not in source.relative_to(DOCS).parts:
                self._copy(source, source.relative_to(DOCS))
        for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
            self._copy(ROOT / name, Path(PAGES[name]))
        self._page(Path("commands.md"), commands.reference())
        for name, text in api.pages():
            self._page(Path("api") / name, text)
        write_search_worker(self.out)
        for source in sorted(self.linked):
            self._page(_shown_at(source), _source_page(source))

    def _copy(self, source: Path, page: Path) -> None:
        if source.suffix == ".md":
            self._page(page, LINK.sub(lambda match: self._link(match[1], source, page), source.read_text()))
        else:
            (self.out / page).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, self.out / page)

    def _page(self, page: Path, text: str) -> None:
        (self.out / page).parent.mkdir(parents=True, exist_ok=True)
        (self.out / page).write_text(text)

    def _link(self, target: str, source: Path, page: Path) -> str:
        """The same link from a page of the site; what lies outside of `docs/` gets a page of its own."""
        file = (source.parent / target).resolve()
        if not file.is_relative_to(ROOT) or not file.exists():
            return target  # the builder says that it is broken
        if file.is_relative_to(DOCS):
            place = file.relative_to(DOCS)
        elif str(file.relative_to(ROOT)) in PAGES:
            place = Path(PAGES[str(file.relative_to(ROOT))])
        else:
            self.linked.add(file)
            place = _shown_at(file)
        return "../" * (len(page.parts) - 1) + place.as_posix()


def _shown_at(source: Path) -> Path:
    return Path("files") / f"{source.relative_to(ROOT)}.md"


def _source_page(source: Path) -> str:
    """A file, or the files of a folder, as blocks of code. The search leaves it out: its name would hide the guides."""
    files = sorted(f for f in source.rglob("*") if f.suffix in TEXT) if source.is_dir() else [source]
    sections = [f"# {source.relative_to(ROOT)}"]
    for file in files:
        if source.is_dir():
            sections.append(f"## {file.relative_to(source)}")
        fence = "`" * 5
        sections.append(f"{fence} {TEXT.get(file.suffix, 'text')}\n{file.read_text().rstrip()}\n{fence}")
    return "---\nsearch:\n  exclude: true\n---\n\n" + "\n\n".join(sections) + "\n"
