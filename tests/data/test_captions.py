from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest

from nas.data.videos.captions import read_captions
from nas.errors import DataError


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        (tmp_path / name).write_bytes(b"-")
    return tmp_path


def write(folder: Path, text: str) -> None:
    (folder / "captions.csv").write_text(text, encoding="utf-8")


def test_rows_in_order_with_quotes_subfolders_and_blank_lines(videos: Path) -> None:
    write(videos, '\ufeffcaption, file\n"a dog, running",b.mp4\r\n\n,\n  a  cat ,./sub/c.mp4\né,a.mp4\n')
    rows = [(row.name, row.caption) for row in read_captions(videos, "captions.csv")]
    assert rows == [("b.mp4", "a dog, running"), ("sub/c.mp4", "a cat"), ("a.mp4", "é")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,caption,split,mood\na.mp4,x,train,glad\n", r"row 1: unknown column 'split', unknown column 'mood'"),
        ("file,text\na.mp4,x\n", r"row 1: unknown column 'text', no column 'caption'"),
        ("file,file,caption\n", r"row 1: columns file, file, caption"),
        ("", r"row 1: no column 'file', no column 'caption'"),
        ("file,caption\n", r"captions\.csv: no rows below the header"),
        ("file,caption\na.mp4,x\nnone.mp4,y\n", r"row 3: no such video: none\.mp4"),
        ("file,caption\nsub,x\n", r"row 2: no such video: sub"),
        ("file,caption\na.mp4,x\nb.mp4,y\na.mp4,z\n", r"row 4: a\.mp4 is listed twice"),
        ("file,caption\na.mp4,x\n./sub/../a.mp4,z\n", r"row 3: a\.mp4 is listed twice"),
        ("file,caption\na.mp4, \n", r"row 2: empty caption of a\.mp4"),
        ("file,caption\n,x\n", r"row 2: no file name"),
        ("file,caption\n../a.mp4,x\n", r"row 2: path '\.\./a\.mp4' leaves its folder"),
        ("file,caption\n/etc/hosts,x\n", r"row 2: path '/etc/hosts' leaves its folder"),
        ("file,caption\na.mp4,a dog, running\n", r"row 2: 3 fields, expected 2; .*double quotes"),
        ('file,caption\na.mp4,"a dog\n', r"captions\.csv: line \d: not CSV"),
    ],
)
def test_faults_name_file_and_row(videos: Path, text: str, message: str) -> None:
    write(videos, text)
    with pytest.raises(DataError, match=message) as caught:
        read_captions(videos, "captions.csv")
    assert str(videos / "captions.csv") in str(caught.value)


def test_a_captions_file_in_another_encoding(videos: Path) -> None:
    (videos / "captions.csv").write_bytes("file,caption\na.mp4,café\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"captions\.csv: cannot be read as text"):
        read_captions(videos, "captions.csv")


def test_folders_without_what_is_needed(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions\.csv.*file,caption"):
        read_captions(videos, "captions.csv")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_captions(tmp_path / "nowhere", "captions.csv")
    with pytest.raises(DataError, match="leaves its folder"):
        read_captions(videos, "../captions.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: the folder is empty"):
        read_captions(tmp_path / "empty", "captions.csv")


def test_videos_without_caption_are_counted(videos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (videos / ".nas-cache").mkdir()
    (videos / ".nas-cache" / "x.mp4").write_bytes(b"-")
    (videos / "notes.txt").write_text("no video")
    write(videos, "file,caption\na.mp4,x\n")
    with caplog.at_level(logging.WARNING, "nas"):
        assert len(read_captions(videos, "captions.csv")) == 1
    (record,) = caplog.records
    assert record.getMessage().endswith("2 videos have no caption and are left out: b.mp4, sub/c.mp4")


def test_no_warning_when_all_have_captions(videos: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(videos, "file,caption\na.mp4,x\nb.mp4,y\nsub/c.mp4,z\n")
    read_captions(videos, "captions.csv")
    assert not caplog.records


COMPOSED, APART = (unicodedata.normalize(form, "café.mp4") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(("on_disk", "listed"), [(COMPOSED, APART), (APART, COMPOSED)])
@pytest.mark.parametrize("folder", ["", "é/", "e\u0301/"])
def test_accents_may_be_composed_otherwise_than_on_the_disk(
    on_disk: str, listed: str, folder: str, videos: Path
) -> None:
    (videos / folder).mkdir(exist_ok=True)
    (videos / folder / on_disk).write_bytes(b"-")
    for name in (folder + listed, unicodedata.normalize("NFC", folder) + listed):
        write(videos, f"file,caption\n{name},x\n")
        (row,) = read_captions(videos, "captions.csv")
        assert row.name == name  # the same on every machine, however its disk spells it
        assert row.path == (videos / folder / on_disk).resolve()


def test_two_spellings_on_the_disk_are_told_apart_where_they_can_be(videos: Path) -> None:
    middle = "cafe\u0301\u0323.mp4"  # three spellings of one name: composed, half composed, apart
    spellings = [
        unicodedata.normalize("NFC", middle),
        "caf\u1eb9\u0301.mp4",
        unicodedata.normalize("NFD", middle),
        middle,
    ]
    first, second, other = list(dict.fromkeys(spellings))[:3]
    for name in (first, second):
        (videos / name).write_bytes(b"-")
    write(videos, f"file,caption\n{first},x\n{second},y\n")
    assert len(read_captions(videos, "captions.csv")) == 2
    write(videos, f"file,caption\n{other},x\n")
    with pytest.raises(DataError, match=r"row 2: 2 files look like caf.*rename all but one"):
        read_captions(videos, "captions.csv")


def test_one_file_in_two_spellings_is_listed_twice(videos: Path) -> None:
    (videos / APART).write_bytes(b"-")
    write(videos, f"file,caption\n{COMPOSED},x\n{APART},y\n")
    with pytest.raises(DataError, match=r"row 3: .* is listed twice"):
        read_captions(videos, "captions.csv")


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".mp4", "x/" * 3000 + "a.mp4", "loop.mp4", "loop/a.mp4", "a\0.mp4", "a.mp4/b"]
)
def test_names_that_no_system_can_follow(name: str, videos: Path) -> None:
    (videos / "loop.mp4").symlink_to("loop.mp4")
    (videos / "loop").symlink_to("loop")
    write(videos, f"file,caption\n{name},x\n")
    with pytest.raises(DataError, match=r"captions\.csv: row 2: "):
        read_captions(videos, "captions.csv")


def test_folders_that_no_system_can_follow(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("-")
    for name in ("x" * 300, "loop", "loop/videos", "a\0", "file", "file/videos"):
        with pytest.raises(DataError):
            read_captions(tmp_path / name, "captions.csv")


def test_videos_of_kinds_that_tars_do_not_have_are_counted_too(videos: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("d.flv", "e.wmv", "f.txt"):
        (videos / name).write_bytes(b"-")
    write(videos, "file,caption\na.mp4,x\nb.mp4,x\nsub/c.mp4,x\n")
    with caplog.at_level(logging.WARNING, "nas"):
        read_captions(videos, "captions.csv")
    assert caplog.records[0].getMessage().endswith("2 videos have no caption and are left out: d.flv, e.wmv")
