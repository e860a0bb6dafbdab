"""Where decoded clips and indices are kept, also where nothing can be written beside the data."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.data import ClipShape, VideoDataset, VideoFolderConfig, open_data
from nas.data.storage.cache import ClipCache
from nas.data.tars.dataset import open_tars
from nas.errors import ConfigError, StorageError
from nas.files import parse
from tests.data.conftest import encode, numbered
from tests.data.test_tars import pack

SHAPE = ClipShape(frames=8, height=12, width=16, fps=8)
NOBODY = 65534


@pytest.fixture
def others() -> Iterator[Path]:
    """A folder with a folder of videos and one of tars, all of another user, and a home for this one."""
    root = Path(tempfile.mkdtemp(prefix="nas-test-", dir="/tmp"))
    (root / "videos").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (root / "videos" / name).write_bytes(encode(numbered(24), 24))
    (root / "videos" / "captions.csv").write_text("file,caption\na.mp4,x\nb.mp4,y\n")
    pack(root / "tars" / "a.tar", {"a.mp4": encode(numbered(24), 24), "a.txt": b"x"})
    (root / "home").mkdir()
    root.chmod(0o755)
    (root / "home").chmod(0o777)
    yield root
    for folder in ("videos", "tars"):
        (root / folder).chmod(0o755)
    shutil.rmtree(root)


@pytest.fixture
def as_other_user(others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same, seen by a user who may read it and write only into the home."""
    # Whatever Python imports late it imports now: the other user may not read it where it is installed.
    VideoDataset.open(shutil.copytree(others / "videos", tmp_path / "videos"), SHAPE)
    open_tars(shutil.copytree(others / "tars", tmp_path / "tars"), SHAPE, (SHAPE.size,), window=1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(others / "home"))
    for folder in ("videos", "tars"):
        (others / folder).chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    yield others
    if is_root:
        os.seteuid(0)


def test_videos_of_another_user_are_kept_in_ones_own_cache(
    as_other_user: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "nas"):
        first = VideoDataset.open(as_other_user / "videos", SHAPE)
    (record,) = caplog.records
    assert "videos/.nas-cache cannot be written (Permission denied); decoded clips are kept in" in record.getMessage()
    assert not (as_other_user / "videos" / ".nas-cache").exists()
    caplog.clear()
    second = VideoDataset.open(as_other_user / "videos", SHAPE)
    assert second.fingerprint == first.fingerprint
    assert second.reader.folder.is_relative_to(as_other_user / "home" / "nas")
    assert not caplog.records  # nothing was decoded


def test_tars_of_another_user_are_indexed_in_ones_own_cache(as_other_user: Path) -> None:
    first = open_tars(as_other_user / "tars", SHAPE, (SHAPE.size,), window=1)
    (index,) = (as_other_user / "home").rglob("a-*.json")
    changed = index.stat().st_mtime_ns
    assert open_tars(as_other_user / "tars", SHAPE, (SHAPE.size,), window=1).fingerprint == first.fingerprint
    assert index.stat().st_mtime_ns == changed


def test_what_its_owner_has_decoded_is_read(others: Path, request: pytest.FixtureRequest) -> None:
    open_tars(others / "tars", SHAPE, (SHAPE.size,), window=1)
    VideoDataset.open(others / "videos", SHAPE)
    request.getfixturevalue("as_other_user")
    open_tars(others / "tars", SHAPE, (SHAPE.size,), window=1)
    VideoDataset.open(others / "videos", SHAPE)
    assert not list((others / "home").iterdir())


def test_a_cache_that_is_chosen_is_the_only_one(others: Path) -> None:
    for buckets in (None, [{"frames": 8, "height": 12, "width": 16}]):
        config = VideoFolderConfig(kind="videos", path="videos", cache="kept", buckets=buckets)
        open_data(config, SHAPE, base=others)
    assert not (others / "videos" / ".nas-cache").exists()
    assert len(list((others / "kept").iterdir())) == 2  # the clips, and the sizes of the videos
    with pytest.raises(ConfigError, match=r"cache: .*empty"):
        parse({"kind": "videos", "path": "videos", "cache": ""}, VideoFolderConfig, where="data.yaml")


def test_nowhere_to_write_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".nas-cache").write_text("a file is in the way")
    (tmp_path / "home").write_text("here, too")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with pytest.raises(StorageError, match=r"no folder for decoded clips: .*choose a folder with `cache:`"):
        ClipCache(tmp_path).writable()
