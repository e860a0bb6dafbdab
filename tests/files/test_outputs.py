"""Whether results can be kept is known before the work."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

import pytest

from nas.errors import ConfigError, StorageError
from nas.files import atomic_write, check_output_file, check_output_folder, hold, refuse_overlap, user_path


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["new.csv", "not/yet/there.csv"])
def test_a_file_that_can_be_written_passes_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    check_output_file(tmp_path / name, (".csv",))
    assert _names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "Is a directory"),
        ("file/below.txt", "Not a directory"),
        ("n" * 256, "File name too long"),
        ("m" * 256 + "/a.txt", "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("pipe", "Is a device, not a file"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    before = _names(tmp_path)
    with pytest.raises(StorageError, match=reason) as early:
        check_output_file(tmp_path / name)
    with pytest.raises(StorageError, match=reason), atomic_write(tmp_path / name) as temporary:
        temporary.write_text("too late")
    assert "\n" not in str(early.value)
    assert _names(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, reason in {
        "file": "it is a file, where a folder is needed",
        "file/below": "Not a directory",
        "n" * 256: "too long",
    }.items():
        with pytest.raises(StorageError, match=reason):
            check_output_folder(tmp_path / name)
    with pytest.raises(StorageError, match="not marked as its own"):
        check_output_folder(tmp_path, "model")
    check_output_folder(tmp_path)
    with pytest.raises(StorageError, match="proc"):
        check_output_folder("/proc/nas")


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "text"


@pytest.mark.parametrize(
    ("output", "source", "relation"),
    [("a", "a", "is also an input"), ("a", "a/b", "contains"), ("a/b", "a", "is inside"), ("link/b", "a", "is inside"),
     ("x/../a", "a", "is also an input")],
)  # fmt: skip
def test_an_output_must_not_touch_an_input(tmp_path: Path, output: str, source: str, relation: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    refuse_overlap([tmp_path / "other"], [tmp_path / source])
    refuse_overlap([tmp_path / "ab"], [tmp_path / source])
    with pytest.raises(ConfigError, match=relation):
        refuse_overlap([tmp_path / "other", tmp_path / output], [tmp_path / source])


def test_a_suffix_that_is_not_written_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write \.txt; use \.png or \.svg"):
        check_output_file(tmp_path / "figure.txt", (".png", ".svg"))


def test_the_home_folder_is_expanded_and_what_is_no_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert user_path("~/x") == "/home/ann/x"
    assert user_path("a/~/x") == "a/~/x"
    for text, reason in {"": "empty", "  ": "empty", "a\0b": "NUL", "~nobody-of-this-name/x": "no home folder"}.items():
        with pytest.raises(ValueError, match=reason):
            user_path(text)


def test_a_folder_is_held_by_one_process_and_names_it(tmp_path: Path) -> None:
    with contextlib.ExitStack() as first:
        first.enter_context(hold(tmp_path / "run"))
        with pytest.raises(StorageError, match=f"is using this folder: process {os.getpid()} on"):
            first.enter_context(hold(tmp_path / "run"))
    with hold(tmp_path / "run"):
        assert _names(tmp_path / "run") == [".lock"]


def test_where_no_locks_are_kept_a_run_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with hold(tmp_path / "run"), atomic_write(tmp_path / "run" / "file") as temporary:
        temporary.write_text("text")
    assert "run: cannot be locked: No locks available; make sure that no other run uses it" in caplog.text
    assert (tmp_path / "run" / "file").read_text() == "text"
