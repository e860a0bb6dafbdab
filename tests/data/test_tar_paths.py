"""Which tars a path names."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import ClipShape
from nas.data.tars.dataset import open_tars
from nas.data.tars.paths import expanded, find_tars
from nas.errors import DataError
from tests.data.test_tars import image, pack

SHAPE = ClipShape(1, 12, 16, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("000", "001", "002", "010", "a-1", "b-1"):
        (tmp_path / f"{name}.tar").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["000", "001", "002", "010", "a-1", "b-1"]),
        ("000.tar", ["000"]),
        ("00*.tar", ["000", "001", "002"]),
        ("{000..002}.tar", ["000", "001", "002"]),
        ("{002..000}.tar", ["000", "001", "002"]),
        ("{000..001}.{tar,tar}", ["000", "001"]),
        ("0{0..1}0.tar", ["000", "010"]),
        ("0{0..0}{0..2}.tar", ["000", "001", "002"]),
        ("{a,b}-{1..1}.tar", ["a-1", "b-1"]),
        ("{00,01}[01].tar", ["000", "001", "010"]),
        ("?-1.tar", ["a-1", "b-1"]),
    ],
)
def test_what_a_pattern_names(pattern: str, names: list[str], folder: Path) -> None:
    found = find_tars(folder / pattern)
    assert [path.name.removesuffix(".tar") for path in found.paths] == names
    assert found.root == folder


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{000..009}.tar", r"7 of 10 tars are missing: 003\.tar, 004\.tar.* and 2 more; add the missing tars"),
        ("x.tar", r"no tar matches x\.tar"),
        ("{x}.tar", r"no tar matches \{x\}\.tar"),
        ("x*.tar", r"no tar matches x\*\.tar"),
        ("{0..999999999999}.tar", "names more than 1000000 files"),
        ("{0..999}{0..999}{0..9}.tar", "names more than 1000000 files"),
        ("{0.." + "9" * 5000 + "}.tar", "cannot be read"),
        ("**x/*.tar", "no such folder of tars|no tar matches|cannot be read"),
        ("none/*.tar", "no such folder of tars"),
        ("none", "no such folder of tars"),
        ("x" * 300 + ".tar", "name too long"),
    ],
)
def test_what_names_nothing(pattern: str, message: str, folder: Path) -> None:
    with pytest.raises(DataError, match=f"(?i){message}"):
        find_tars(folder / pattern)


def test_brackets_in_the_name_of_a_folder_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "data[1]{0..1}"
    folder.mkdir()
    (folder / "x[1].tar").write_bytes(b"")
    for pattern in ("", "*.tar", "x[1].tar"):
        assert [path.name for path in find_tars(folder / pattern).paths] == ["x[1].tar"]


@given(first=st.integers(0, 120), count=st.integers(1, 30), digits=st.integers(1, 5))
def test_a_range_names_all_its_numbers(first: int, count: int, digits: int) -> None:
    names = [f"x{number:0{digits}d}.tar" for number in range(first, first + count)]
    pattern = f"x{{{first:0{digits}d}..{first + count - 1:0{digits}d}}}.tar"
    assert expanded(pattern, Path()) == names


def test_one_tar_and_a_range_are_the_same_set(tmp_path: Path) -> None:
    for number in range(2):
        pack(tmp_path / f"0{number}.tar", {"x.png": image("png"), "x.txt": b"grey"})
    whole, part = (open_tars(tmp_path / name, SHAPE, (SHAPE.size,), window=1) for name in ("", "{00..01}.tar"))
    assert whole.fingerprint == part.fingerprint
    (clip,) = open_tars(tmp_path / "01.tar", SHAPE, (SHAPE.size,), window=1).names
    assert clip == "01.tar/x.png#0"


def test_what_looks_like_a_tar_and_is_not_read_is_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pack(tmp_path / "a.tar", {"x.png": image("png"), "x.txt": b"grey"})
    (tmp_path / "b.tar.gz").write_bytes(b"")
    (tmp_path / "c.tgz").write_bytes(b"")
    (tmp_path / "d.tar").mkdir()
    (tmp_path / "e.tar").symlink_to("nowhere")
    (tmp_path / "f.tar").symlink_to("f.tar")
    with caplog.at_level(logging.WARNING, "nas"):
        open_tars(tmp_path, SHAPE, (SHAPE.size,), window=1)
    text = caplog.text
    assert "left out 5 of 6 samples" in text
    for part in (
        "b.tar.gz (is compressed: store it as .tar)",
        "c.tgz (is",
        "d.tar (is not a file)",
        "e.tar (is not a file)",
    ):
        assert part in text
