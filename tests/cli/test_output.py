"""What is printed arrives: in any encoding and width, whole as JSON, and with one line where it cannot."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nas.cli
from nas.cli import _common
from nas.errors import ConfigError
from nas.progress import progress_bar

STRANGE = "caf\xe9 \U0001f415 \u8d64 [red]fox[/] :dog: [/b] \\"


def _run(command: list[str], stdout: Any = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    clean = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "PYTHONIOENCODING"}}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=clean | environment, check=False)


def _say(text: str = "a word", printer: str = "emit_table(text, [{'caption': text}])") -> list[str]:
    """The program with a verb that prints a text of a user in the way of all verbs, and imports nothing heavy."""
    code = (
        "import sys; from nas import cli; from nas.cli._common import emit_json, emit_table\n"
        f"@cli.app.command('say')\ndef say(text: str) -> None: {printer}\n"
        "sys.argv = ['nas', 'say', sys.argv[1]]; cli.main()"
    )
    return [sys.executable, "-c", code, text]


PRINTERS = ["emit_table(text, [{'caption': text}])", "emit_json([text] * 9999)", "cli.typer.echo(text)"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_text_that_an_encoding_cannot_hold_is_escaped(encoding: str) -> None:
    done = _run(_say(STRANGE), PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    shown = done.stdout.decode(encoding)
    assert STRANGE.encode(encoding, "backslashreplace").decode(encoding) in shown


def test_the_c_locale_and_names_that_are_no_text_are_printed() -> None:
    done = _run(_say("bytes \udcff"), LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"bytes \\udcff" in done.stdout


@pytest.mark.parametrize("columns", ["0", "", "-3", "00"])
def test_a_terminal_without_a_width_shows_all(columns: str) -> None:
    done = _run(_say(), COLUMNS=columns)
    assert done.returncode == 0, done.stderr
    assert b"a word" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("printer", PRINTERS)
def test_a_full_disk_behind_the_output_is_one_line(printer: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = _run(_say(printer=printer), stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: standard output: cannot be written: No space left on device; ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("printer", PRINTERS)
def test_a_reader_that_has_gone_ends_the_program_without_a_word(printer: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = _run(_say(printer=printer), stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_closed_output_is_no_error() -> None:
    done = _run(["/bin/sh", "-c", '"$@" >&-', "sh", *_say()])
    assert (done.returncode, done.stderr) == (0, b"")


def test_json_holds_null_for_what_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    _common.emit_json({"a": math.nan, "b": [1.5, -math.inf, (math.inf,)], "c": {"d": math.nan}, "e": "NaN"})
    printed = capsys.readouterr().out
    expected = {"a": None, "b": [1.5, None, [None]], "c": {"d": None}, "e": "NaN"}
    assert json.loads(printed, parse_constant=pytest.fail) == expected


def test_cells_hold_no_commands_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _common.emit_table("a \x1b[2J title", [{"x\x07": "\x1b]0;owned\x07 [bold]"}])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\x07" not in printed
    assert "\\x1b[2J" in printed
    assert "[bold]" in printed


def test_a_progress_bar_takes_any_text(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("encoding [/b]", 1) as advance:
        advance("a [red] fox [/nothing]")
    assert "[/nothing]" in capsys.readouterr().err


ESCAPED = [
    (PermissionError(13, "Permission denied", "a.db"), 2, "error: a.db: Permission denied"),
    (MemoryError(), 2, "error: there is too little memory for this"),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "error: there is too little memory"),
    (ValueError("one\x1b[2J\ntwo"), 1, "error: unexpected ValueError: one\\x1b[2J; this is a defect of nas"),
    (ConfigError("one\ntwo"), 2, "error: one two"),
]


@pytest.mark.parametrize(("error", "code", "line"), ESCAPED, ids=[type(error).__name__ for error, *_ in ESCAPED])
def test_whatever_escapes_a_command_is_one_line(
    error: Exception, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(nas.cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        nas.cli.main()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (code, 1)
    assert said.startswith(line)
