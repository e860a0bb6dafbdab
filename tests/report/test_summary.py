"""The report at the end of a run."""

from __future__ import annotations

import re
import urllib.parse
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from nas.report import Picture, Section, write_summary


class Page(HTMLParser):
    """Text, tags and image sources of a page."""

    def __init__(self, text):
        super().__init__()
        self.words, self.tags, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.images += [value for name, value in attrs if tag == "img" and name == "src"]

    def handle_data(self, data):
        self.words.append(data.strip())


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "made here"
    folder.mkdir()
    Image.new("RGB", (8, 4), "red").save(folder / "front.png")
    Image.new("RGB", (8, 4), "blue").save(folder / "clip.gif")
    return [Picture(folder / "front.png", "The front"), Picture(folder / "clip.gif", "A <clip>")]


def read(tmp_path, *sections, title="Run"):
    markdown = write_summary(tmp_path / "out" / "summary.html", sections, title=title)
    assert markdown.name == "summary.md"
    return markdown.read_text()


def test_pictures_are_linked(tmp_path, pictures):
    markdown = read(tmp_path, Section("Search", pictures=pictures))

    targets = re.findall(r"\]\(<(.*?)>\)", markdown)
    assert len(targets) == len(pictures)
    assert all((tmp_path / "out" / target.replace("%20", " ")).is_file() for target in targets)


def test_what_users_write_is_shown_and_not_obeyed(tmp_path):
    nasty = "<script>alert(1)</script> & *stars* | bar"

    markdown = read(tmp_path, Section(nasty, f"{nasty}\n\nsecond", [{"prompt": nasty, "count": 1}]), title=nasty)

    assert "<script>" not in markdown.replace("\\<script\\>", "")
    row = next(line for line in markdown.splitlines() if line.endswith("| 1 |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_a_table_aligns_numbers_and_shows_what_is_unknown(tmp_path):
    rows = [
        {"id": "abc", "latency_ms": 1234.5678, "parameters": 1234567, "ok": True, "note": None},
        {"id": "def", "latency_ms": 0.25, "parameters": None, "ok": False, "note": "fine"},
    ]

    markdown = read(tmp_path, Section("Front", rows=rows))

    assert "| --- | ---: | ---: | --- | --- |" in markdown
    assert "| abc | 1,235 | 1,234,567 | yes | - |" in markdown
    assert "| def | 0.25 | - | no | fine |" in markdown


@pytest.mark.parametrize(
    "nasty",
    [
        "- no list",
        "1. no list",
        "= x",
        "# no head",
        "$5 and $10",
        "&lt;b&gt;",
        "~~kept~~",
        "a\\",
        "`x`",
        "![a](b)",
        "> q",
    ],
)
def test_markdown_shows_what_users_write(tmp_path, nasty):
    markdown = read(tmp_path, Section("Part", f"before\n{nasty}", [{nasty: nasty}]))

    page = Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    assert set(page.tags) <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert nasty in " ".join(page.words).replace("before\n", "before ")
    assert page.words.count(nasty) >= 2
    assert not re.search(r"(?<!\\)\$", markdown)


def test_pictures_of_any_name_are_linked(tmp_path):
    folder = tmp_path / "a <b> #1 50%?"
    folder.mkdir()
    Image.new("RGB", (8, 4), "red").save(folder / "é\n>.png")

    markdown = read(tmp_path, Section("Search", pictures=[Picture(folder / "é\n>.png", "c")]))

    (image,) = Page(MarkdownIt("commonmark").render(markdown)).images
    assert (tmp_path / "out" / urllib.parse.unquote(image)).is_file()
