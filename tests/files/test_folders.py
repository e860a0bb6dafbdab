"""Folders that results replace: whose they are, and what a kill leaves of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import CheckpointError, StorageError
from nas.files import FOLDER_MARKER, TEMPORARY_PREFIX, atomic_folder, require_whole


def _write(path: Path, files: Mapping[str, str], kind: str = "model") -> None:
    with atomic_folder(path, kind) as root:
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)


def _read(path: Path) -> dict[str, str]:
    """All files below a folder but its marker."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name != FOLDER_MARKER)
    return {file.relative_to(path).as_posix(): file.read_text() for file in files}


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


NAMES = st.sampled_from(["a", "b", "c", "in/a", "in/b", "in/deep/c"])
FILES = st.dictionaries(NAMES, st.text("xyz", min_size=1, max_size=3), min_size=1)


@settings(max_examples=20, deadline=None)
@given(first=FILES, second=FILES, mine=st.dictionaries(st.sampled_from(["m", "in/m", "own/m"]), st.just("mine")))
def test_what_is_written_replaces_what_was_written_before_and_nothing_else(
    first: dict[str, str], second: dict[str, str], mine: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made"
        _write(path, first)
        for name, text in mine.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text)
        _write(path, second)
        assert _read(path) == second | mine
        require_whole(path)
        assert _names(Path(folder)) == ["made"]


def test_the_longest_name_that_a_system_takes_is_replaced_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    for text in ("old", "new"):
        _write(path, {"a": text})
    assert _read(path) == {"a": "new"}


def test_a_folder_of_the_user_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_text("mine")
    with pytest.raises(
        StorageError, match=r"holds files that nas has not marked as its own, such as 'mine\.bin'; choose"
    ):
        _write(tmp_path, {"a": "new"})
    assert _read(tmp_path) == {"mine.bin": "mine"}


def test_another_kind_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "made", {"a": "a model"})
    with pytest.raises(StorageError, match="holds a model, which a bundle must not replace"):
        _write(tmp_path / "made", {"a": "a bundle"}, "bundle")
    assert _read(tmp_path / "made") == {"a": "a model"}


def test_a_file_of_the_user_with_the_name_of_a_new_one_is_in_the_way(tmp_path: Path) -> None:
    _write(tmp_path / "made", {"a": "1"})
    (tmp_path / "made" / "b").write_text("mine")
    with pytest.raises(StorageError, match="made/b: already exists, and nas has not written it"):
        _write(tmp_path / "made", {"a": "2", "b": "2"})
    assert _read(tmp_path / "made") == {"a": "1", "b": "mine"}


def test_a_link_is_followed_to_another_disk(tmp_path: Path) -> None:
    shm = Path("/dev/shm")  # noqa: S108 - a second disk on Linux
    if not os.access(shm, os.W_OK) or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk")
    elsewhere = Path(tempfile.mkdtemp(dir=shm))
    try:
        (tmp_path / "link").symlink_to(elsewhere)
        for text in ("first", "second"):
            _write(tmp_path / "link", {"a": text})
            assert _read(elsewhere) == {"a": text}
        assert (tmp_path / "link").is_symlink()
        assert _names(tmp_path) == ["link"]
    finally:
        shutil.rmtree(elsewhere)


def test_a_link_in_a_circle_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StorageError, match="loop: cannot write: Too many levels of symbolic links"):
        _write(tmp_path / "loop", {"a": "1"})
    assert _names(tmp_path) == ["loop"]


def test_the_current_folder_is_filled_and_stays_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    _write(Path(), {"a": "1", "old": "1"})
    _write(Path(), {"a": "2"})
    assert _read(tmp_path) == {"a": "2"}
    assert Path.cwd().stat().st_ino == before


def test_a_mount_is_filled(small_disk: Path) -> None:
    (small_disk / "lost+found").mkdir()
    _write(small_disk, {"a": "1", "in/old": "1"})
    _write(small_disk, {"a": "2", "in/b": "2"})
    assert _read(small_disk) == {"a": "2", "in/b": "2"}


def test_a_full_mount_says_so_and_keeps_what_was_there(small_disk: Path) -> None:
    _write(small_disk, {"a": "1"})
    with pytest.raises(StorageError, match="disk: cannot write: No space left on device; free some space"):
        _write(small_disk, {"a": "2" * 2**21})
    assert _read(small_disk) == {"a": "1"}
    require_whole(small_disk)


KILLED = """
import os, signal, sys
from pathlib import Path
from nas.files import folders
moved = []
replace = Path.replace
def dying(self, target):
    if Path(target).name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = dying
with folders.atomic_folder(sys.argv[1], "model") as root:
    for name in ("a", "b"):
        (root / name).write_text("new")
"""


def _killed(script: str, path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9


def test_a_kill_while_a_folder_is_filled_is_noticed_and_repaired_by_writing_again(tmp_path: Path) -> None:
    path = tmp_path / "made"
    _write(path, {"a": "1", "b": "1"})
    (path / "notes").write_text("mine")
    _killed(KILLED, path)
    with pytest.raises(CheckpointError, match="made: is half-written"):
        require_whole(path)
    _write(path, {"a": "3", "b": "3"})
    require_whole(path)
    assert _read(path) == {"a": "3", "b": "3", "notes": "mine"}


def test_leftovers_of_a_killed_process_go_with_the_next_write(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from nas.files import atomic_folder, atomic_write
with atomic_folder(sys.argv[1], "model") as root, atomic_write(sys.argv[1] + ".txt") as file:
    (root / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "made"
    _killed(script, path)
    assert len([name for name in _names(tmp_path) if name.startswith(TEMPORARY_PREFIX)]) == 2
    (tmp_path / f"{TEMPORARY_PREFIX}mine").write_text("not a name of nas")
    _write(path, {"a": "whole"})
    assert _names(tmp_path) == [f"{TEMPORARY_PREFIX}mine", "made"]


def test_leftovers_of_a_container_whose_processes_all_have_one_number_go_too(tmp_path: Path) -> None:
    mine = f"{TEMPORARY_PREFIX}{os.getpid()}-"
    (tmp_path / f"{mine}gone").mkdir()
    (tmp_path / f"{mine}gone.txt").touch()
    with atomic_folder(tmp_path / "first", "model") as root:
        (root / "a").write_text("1")
        _write(tmp_path / "second", {"a": "2"})
        assert _names(tmp_path) == [root.name, "second"]
    assert _names(tmp_path) == ["first", "second"]


def test_what_another_living_process_is_writing_stays(tmp_path: Path) -> None:
    script = """
import sys
from nas.files import atomic_folder
with atomic_folder(sys.argv[1], "model") as root:
    (root / "a").write_text("theirs")
    print("ready", flush=True)
    sys.stdin.read()
"""
    path = tmp_path / "made"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        _write(tmp_path / "mine", {"a": "mine"})
        other.communicate()
    assert (other.returncode, _read(path), _read(tmp_path / "mine")) == (0, {"a": "theirs"}, {"a": "mine"})


def test_a_replacement_killed_between_two_renames_is_undone(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from nas.files import atomic_folder
rename = Path.rename
def dying(self, target):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = dying
with atomic_folder(sys.argv[1], "model") as root:
    (root / "a").write_text("new")
"""
    path = tmp_path / "made"
    _write(path, {"a": "1"})
    _killed(script, path)
    assert not path.exists()
    with pytest.raises(RuntimeError), atomic_folder(path, "model"):
        raise RuntimeError
    assert _read(path) == {"a": "1"}
