from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nas.data.captions import read_captions
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
