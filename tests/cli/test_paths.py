"""What commands do with the paths they are given, before any work: nothing of the user's is written over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from nas.cli import app
from nas.cli._paths import PathParser, WritesFile, WritesFolder, WritesInto
from nas.errors import NasError

SPACE = Path("search_spaces/quickstart.yaml").resolve()


def _run(*arguments: str | Path) -> str:
    """Run a command that must fail with one line or a usage error, before it does anything; return what it says."""
    result = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "400"})
    if isinstance(result.exception, NasError):
        assert "\n" not in str(result.exception)
        return str(result.exception)
    assert result.exit_code == 2, result.output
    return result.output


def _content(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def _options() -> Iterator[tuple[list[str], str, object, object]]:
    """All options and arguments of all commands: the command's words, the option, its type and its parser."""

    def commands(group: object, words: list[str]) -> Iterator[tuple[list[str], object]]:
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                yield from commands(command, [*words, name])
            else:
                yield [*words, name], command

    for words, command in commands(get_command(app), []):
        for parameter in command.params:
            kind = getattr(parameter, "type_descriptor", None)
            if kind is not None and kind.parameter_info is not None:
                yield words, parameter.opts[0], kind.annotation, kind.parameter_info.parser


PATHS = [
    pytest.param(words, option, parser, id=" ".join([*words, option]))
    for words, option, _, parser in _options()
    if isinstance(parser, PathParser)
]


def test_every_path_option_says_what_it_does_with_the_path() -> None:
    """One without a parser would be neither expanded nor checked."""
    assert len(PATHS) > 40
    unsaid = [(words, option) for words, option, kind, parser in _options() if "Path" in str(kind) and parser is None]
    assert unsaid == []


@pytest.mark.parametrize(("words", "option", "parser"), PATHS)
def test_an_empty_path_is_refused(words: list[str], option: str, parser: PathParser) -> None:
    given = [option, ""] if option.startswith("-") else ["--", ""]
    said = _run(*words, *given)
    assert "a path is empty; does it come from a variable that is not set?" in said or "Missing" in said


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(SPACE, tmp_path / "space.yaml")
    result = CliRunner().invoke(app, ["space", "sample", "~/space.yaml", "--out=~/drawn"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "drawn").iterdir())) == 1


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with things that commands read."""
    monkeypatch.chdir(tmp_path)
    for name in ("clips", "run/model", "run/supernet", "run/classifier"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "content").write_text("precious")
    for name in ("table.csv", "study.db", "a.yaml", "settings.yaml", "run.mp4"):
        (tmp_path / name).write_text("precious")
    (tmp_path / "data.yaml").write_text("data: {kind: videos, path: clips}")
    (tmp_path / "link").symlink_to("run")
    return tmp_path


OVERLAPS = [
    ("export run/model --out run/model", "is also an input"),
    ("export run/model --out run", "contains run/model"),
    ("export run/model --out run/model/bundle", "is inside run/model"),
    ("export run/model --out link/model", "is also an input"),
    ("export run/model --table table.csv --out .", "contains"),
    ("generate run/model --prompt x --out run/model/clip.mp4", "is inside run/model"),
    ("compare run/model --teacher run/model --prompt x --out run/model/sheet.png", "is inside run/model"),
    ("train SPACE --data clips --out clips", "is inside clips"),
    ("train SPACE --data clips --out clips/run", "is inside clips"),
    ("train SPACE --data data.yaml --out clips/run", "is inside clips"),
    ("data encode SPACE --data data.yaml --out clips", "is also an input"),
    ("train SPACE --data moving_shapes --architecture a.yaml --backbone run/model --out run", "is also an input"),
    ("distill SPACE --data clips --model run/model --out run", "is also an input"),
    ("data sample SPACE --data clips --out clips", "is also an input"),
    ("data encode SPACE --data clips --out clips/latents", "is inside clips"),
    ("latency merge table.csv --out table.csv", "is also an input"),
    ("latency show table.csv --space SPACE --figure table.csv", "is also an input"),
    ("latency check SPACE --table table.csv --figure a.png --errors-figure a.png", "two results"),
    ("latency check SPACE --table table.csv --conversions .", "contains"),
    ("pick --study s --storage study.db --knee --out study.db", "is also an input"),
    ("pick --study s --storage sqlite:///study.db --knee --out ./study.db", "is also an input"),
    ("search SPACE --table table.csv --study s --storage table.csv", "is also an input"),
]


@pytest.mark.parametrize(("command", "relation"), OVERLAPS)
def test_what_is_read_is_not_written_over(files: Path, command: str, relation: str) -> None:
    before = _content(files)
    said = _run(*command.replace("SPACE", str(SPACE)).split())
    assert relation in said
    assert _content(files) == before


def test_architectures_are_drawn_beside_their_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(SPACE, "space.yaml")
    result = CliRunner().invoke(app, ["space", "sample", "space.yaml", "--out", "."])
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.glob("*.yaml"))) == 2


FOREIGN = [
    "export run/model --out clips",
    "data sample SPACE --data moving_shapes --out clips",
    "train SPACE --data moving_shapes --steps 1 --out run",
    "classifier SPACE --steps 1 --out run",
]


@pytest.mark.parametrize("command", FOREIGN)
def test_a_folder_of_the_user_is_not_replaced(files: Path, command: str) -> None:
    before = _content(files)
    said = _run(*command.replace("SPACE", str(SPACE)).split())
    assert "holds files that nas has not marked as its own, such as 'content'" in said
    assert _content(files) == before


WRITERS = [entry for entry in PATHS if isinstance(entry.values[2], WritesFile | WritesFolder | WritesInto)]


@pytest.mark.parametrize(("words", "option", "parser"), WRITERS)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, words: list[str], option: str, parser: PathParser
) -> None:
    (tmp_path / "file").touch()
    suffix = parser.suffixes[0] if isinstance(parser, WritesFile) and parser.suffixes else ""
    for path in (tmp_path / "file" / f"out{suffix}", tmp_path / ("n" * 300 + suffix)):
        with pytest.raises(NasError, match="cannot write"):
            parser.check(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_with_a_wrong_suffix_names_the_right_ones(tmp_path: Path) -> None:
    (tmp_path / "unet.safetensors").touch()
    for command, right in {
        f"profile {SPACE} --table table": r".csv",
        f"latency estimate {SPACE} --device iphone-15-pro --table t.txt": ".csv",
        "plot --study s --out front.jpg": ".png or .svg or .pdf",
        f"generate {tmp_path} --prompt x --out clip.avi": ".mp4 or .gif",
    }.items():
        assert f"use {right}" in _run(*command.split())
