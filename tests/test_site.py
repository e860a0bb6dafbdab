"""The documentation site: its pages, the references that are generated for it, and the check of what was built."""

from __future__ import annotations

import importlib
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nas
from docs.site import api, commands
from docs.site.checking import problems
from docs.site.staging import Staging
from nas.cli import app
from tests.pages import ROOT

SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def _pages_of(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages_of(part)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    Staging(folder).write()
    return folder


def test_the_navigation_has_each_page_once(staged: Path) -> None:
    pages = list(_pages_of(SETTINGS["nav"]))
    written = {str(page.relative_to(staged)) for page in staged.rglob("*.md") if "files" not in page.parts}
    assert sorted(pages) == sorted(written)


# The search puts a page first if one of its headings begins with what was asked for.
ASKED = {
    "latency table": "latency.md",
    "core ml": "app.md",
    "distil": "distillation.md",
    "text encoder": "search_space.md",
    "search space": "search_space.md",
    "backbone": "search_space.md",
    "captions": "guides/data.md",
    "quickstart": "index.md",
}


@pytest.mark.parametrize(("words", "page"), ASKED.items())
def test_a_heading_begins_with_what_people_search_for(staged: Path, words: str, page: str) -> None:
    headings = re.findall(r"^#+ (.*)$", (staged / page).read_text(), re.MULTILINE)
    assert [heading for heading in headings if heading.lower().startswith(words)]


def test_the_search_leaves_files_of_the_repository_out(staged: Path) -> None:
    files = [*(staged / "files").rglob("*.md")]
    assert len(files) > 10
    assert {file.read_text()[:33] for file in files} == {"---\nsearch:\n  exclude: true\n---\n\n"}


def test_links_between_the_pages_of_the_site_lead_somewhere(staged: Path) -> None:
    found = 0
    for page in staged.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:\s]+)[)#]", page.read_text()) if "files" not in page.parts else ():
            found += 1
            assert (page.parent / target).exists(), f"{page.relative_to(staged)} links to {target}"
    assert found > 100


def test_the_reference_of_commands_has_every_option_that_help_shows() -> None:
    page, shown = commands.reference(), 0
    for name, _ in commands.commands():
        section = re.split(r"^#", page.partition(f"# {name}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        words = name.split()[1:]
        result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "300"}, color=False)
        assert result.exit_code == 0, name
        for option, told in re.findall(r"^│[ *]+(--[a-z-]+)[ ,].*?(\w[^│]*?) *│$", result.output, re.MULTILINE):
            words_told = re.sub(r" *\[(required|default: .*)\]", "", told).split()
            if option == "--help" or not words_told:
                continue
            shown += 1
            assert f"`{option}" in section, f"{name} {option}"
            assert words_told[-1].strip("`") in section, f"{name} {option}: {told}"
    assert shown > 200


def test_the_reference_of_the_api_has_every_public_name() -> None:
    pages = dict(api.pages())
    for package in api.PACKAGES:
        names = importlib.import_module(f"nas.{package}").__all__
        assert {f"::: nas.{package}.{name}" for name in names} <= set(pages[f"{package}.md"].splitlines())
    rows = set(re.findall(r"^\| `nas\.(\w+)` ", pages["index.md"], re.MULTILINE))
    modules = {*api.PACKAGES, "errors", "__version__"}
    assert rows == set(nas.__all__) - modules


@pytest.mark.slow
def test_a_page_that_is_opened_as_a_file_can_start_the_worker_of_the_search(staged: Path, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium here (apt-get install chromium)")
    (script,) = (each["path"] for each in SETTINGS["extra"]["polyfills"])
    pages = [tmp_path / "without.html", tmp_path / "with.html"]
    pages[0].write_text("<p>search</p>")
    pages[1].write_text(f'<script src="{(staged / script).as_uri()}"></script><p>search</p>')
    start = """() => new Promise((tell) => {
        try { const worker = new Worker("search.js"); worker.onerror = () => tell("failed"); }
        catch (error) { tell("refused"); }
        setTimeout(() => tell("runs"), 300);
    })"""
    found = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for file in pages:
            page = browser.new_page()
            page.goto(file.as_uri())
            found.append(page.evaluate(start))
        browser.close()
    assert found == ["refused", "runs"]


def _site(folder: Path, **pages: str) -> Path:
    folder.mkdir()
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return folder


def test_the_check_of_a_site_names_what_is_broken(tmp_path: Path) -> None:
    good = _site(tmp_path / "good", index='<a href="a.html#b">a</a><a href="https://example.org">x</a>', a='<p id="b">')
    assert problems(good) == []
    bad = _site(tmp_path / "bad", index='<a href="a.html#c">a</a><img src="no.png">', a='<p id="b">', lost="")
    assert problems(bad) == [
        "index.html: a.html#c: no such anchor",
        "index.html: no.png: no such file",
        "lost.html: no link leads to it",
    ]
