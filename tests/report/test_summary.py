"""The report at the end of a run."""

from __future__ import annotations

import base64
import re
import urllib.parse
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from nas.errors import StorageError
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
    markdown, page = write_summary(tmp_path / "out" / "summary.html", sections, title=title)
    assert (markdown.name, page.name) == ("summary.md", "summary.html")
    return markdown.read_text(), Page(page.read_text())


def test_the_page_contains_its_pictures(tmp_path, pictures):
    markdown, page = read(tmp_path, Section("Search", pictures=pictures))

    for source, picture in zip(page.images, pictures, strict=True):
        head, data = source.split(",")
        assert head == f"data:image/{picture.path.suffix[1:]};base64"
        assert base64.b64decode(data) == picture.path.read_bytes()
    for target in re.findall(r"\]\(<(.*?)>\)", markdown):
        assert (tmp_path / "out" / target.replace("%20", " ")).is_file()


def test_what_users_write_is_shown_and_not_obeyed(tmp_path):
    nasty = "<script>alert(1)</script> & *stars* | bar"
    section = Section(nasty, f"{nasty}\n\nsecond", [{"prompt": nasty, "count": 1}])

    markdown, page = read(tmp_path, section, title=nasty)

    assert "script" not in page.tags
    assert page.words.count(nasty) == 5
    assert "<script>" not in markdown.replace("\\<script\\>", "")
    row = next(line for line in markdown.splitlines() if line.endswith("| 1 |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_a_table_aligns_numbers_and_shows_what_is_unknown(tmp_path):
    rows = [
        {"id": "abc", "latency_ms": 1234.5678, "parameters": 1234567, "ok": True, "note": None},
        {"id": "def", "latency_ms": 0.25, "parameters": None, "ok": False, "note": "fine"},
    ]

    markdown, page = read(tmp_path, Section("Front", rows=rows))

    assert [word for word in page.words if word][4:] == [
        "id", "latency_ms", "parameters", "ok", "note",
        "abc", "1,235", "1,234,567", "yes", "-", "def", "0.25", "-", "no", "fine",
    ]  # fmt: skip
    assert "| --- | ---: | ---: | --- | --- |" in markdown
    assert "| def | 0.25 | - | no | fine |" in markdown


@pytest.mark.parametrize(("name", "words"), [("gone.png", "cannot read"), ("clip.mp4", "known kind.*gif")])
def test_a_picture_that_cannot_be_shown_is_named_and_nothing_is_written(tmp_path, name, words):
    with pytest.raises(StorageError, match=f"{name}.*{words}"):
        read(tmp_path, Section("Samples", pictures=[Picture(tmp_path / name, "")]))

    assert not (tmp_path / "out").exists()


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
    markdown, _ = read(tmp_path, Section("Part", f"before\n{nasty}", [{nasty: nasty}]))

    page = Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))

    assert set(page.tags) <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert nasty in " ".join(page.words).replace("before\n", "before ")
    assert page.words.count(nasty) >= 2
    assert not re.search(r"(?<!\\)\$", markdown)


def test_pictures_of_any_name_are_linked(tmp_path):
    folder = tmp_path / "a <b> #1 50%?"
    folder.mkdir()
    Image.new("RGB", (8, 4), "red").save(folder / "é\n>.png")

    markdown, _ = read(tmp_path, Section("Search", pictures=[Picture(folder / "é\n>.png", "c")]))

    (image,) = Page(MarkdownIt("commonmark").render(markdown)).images
    assert (tmp_path / "out" / urllib.parse.unquote(image)).is_file()
