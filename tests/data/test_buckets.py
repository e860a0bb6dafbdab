"""Clips of several sizes: which video goes where, and what is refused."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data import ClipShape, DataSplit, open_data
from nas.data.clips.buckets import BucketedClips, best_size
from nas.data.clips.captioned import GridSize
from nas.data.clips.dataset import source_file
from nas.errors import ConfigError, DataError
from tests.data.conftest import encode, numbered
from tests.data.test_config import config
from tests.data.test_tars import image, pack

NATIVE = ClipShape(4, 16, 16, 8)
BUCKETS = [{"frames": 1, "height": 24, "width": 16}, {"frames": 4, "height": 16, "width": 16},
           {"frames": 2, "height": 16, "width": 32}]  # fmt: skip


def split(path: Path, kind: str = "webdataset", multiple: int = 8, **fields: Any) -> DataSplit:
    data = config(kind=kind, path=str(path), **{"buckets": BUCKETS} | fields)
    return open_data(data, NATIVE, base="", multiple=multiple, validation_fraction=0.01)


def film(count: int, height: int, width: int) -> bytes:
    return encode(numbered(count, height, width), 24)


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    """Two videos of two native clips, one wide and short, and two tall images."""
    files = {
        "long.mp4": film(24, 48, 48), "other.mp4": film(24, 48, 64), "wide.mp4": film(9, 32, 64),
        "tall.png": image("png", 48, 32), "tiny.jpg": image("jpg", 12, 8),
    }  # fmt: skip
    captions = {f"{name.split('.')[0]}.txt": b"grey" for name in files}
    pack(tmp_path / "a.tar", files | captions)
    return tmp_path


def sizes(data: DataSplit) -> dict[str, str]:
    parts = [part for side in (data.train, data.validation) for part in getattr(side, "parts")]  # noqa: B009
    return {name: part.shape.size.text for part in parts for name in part.names}


def test_each_video_goes_to_the_size_that_fits_it(tar: Path) -> None:
    assert sizes(split(tar)) == {
        "a.tar/long.mp4#0": "4x16x16", "a.tar/long.mp4#1": "4x16x16",
        "a.tar/other.mp4#0": "4x16x16", "a.tar/other.mp4#1": "4x16x16",
        "a.tar/wide.mp4#0": "2x16x32",
        "a.tar/tall.png#0": "1x24x16", "a.tar/tiny.jpg#0": "1x24x16",
    }  # fmt: skip


def test_a_folder_of_videos_has_sizes_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    films = {
        "long.mp4": film(24, 48, 48), "same.mp4": film(12, 48, 48), "wide.mp4": film(9, 32, 64),
        "still.mp4": film(3, 48, 32),
    }  # fmt: skip
    for name, data in films.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "bad.mp4").write_bytes(films["long.mp4"][:-900])
    (tmp_path / "captions.csv").write_text("file,caption\n" + "".join(f"{name},x\n" for name in (*films, "bad.mp4")))
    expected = {
        "long.mp4#0": "4x16x16", "long.mp4#1": "4x16x16", "same.mp4#0": "4x16x16", "wide.mp4#0": "2x16x32",
        "still.mp4#0": "1x24x16",
    }  # fmt: skip
    with caplog.at_level(logging.WARNING):
        first = split(tmp_path, "videos")
    assert sizes(first) == expected
    assert "left out 1 of 5 videos: bad.mp4" in caplog.text
    again = split(tmp_path, "videos")
    assert again.train.fingerprint == first.train.fingerprint
    others = split(tmp_path, "videos", buckets=BUCKETS[:2])
    assert sizes(others)["wide.mp4#0"] == "1x24x16"
    assert others.train.fingerprint != first.train.fingerprint
    too_short = split(tmp_path, "videos", buckets=BUCKETS[1:])
    assert "still.mp4#0" not in sizes(too_short)


def test_of_each_size_some_files_are_held_out(tar: Path) -> None:
    data = split(tar)
    files = [{source_file(name) for name in side.names} for side in (data.train, data.validation)]
    assert not files[0] & files[1]
    assert Counter(size for name, size in sizes(data).items() if source_file(name) in files[1]) == {
        "4x16x16": 2, "1x24x16": 1,
    }  # fmt: skip
    assert "a.tar/wide.mp4" in files[0]


@pytest.mark.parametrize(
    ("buckets", "message"),
    [
        ([*BUCKETS, {"frames": 4, "height": 20, "width": 16}],
         r"data\.buckets\[3\]\.height: expected a multiple of 8, which the codec and .* backbone need, got 20"),
        ([*BUCKETS, {"frames": 1, "height": 16, "width": 12}], r"buckets\[3\]\.width: expected a multiple of 8.*12"),
        ([*BUCKETS, {"frames": 5, "height": 16, "width": 16}],
         r"buckets\[3\]\.frames: the model makes clips of 4 frames, 5 are too many"),
        ([*BUCKETS, BUCKETS[0]], r"buckets\[3\]: 1x24x16 is listed twice"),
        (BUCKETS[:1], r"data\.buckets: 4x16x16 is missing, .* add \{frames: 4, height: 16, width: 16\}"),
        ([], r"data\.buckets.*at least 1"),
        ([{"frames": 0, "height": 16, "width": 16}], r"data\.buckets\[0\]\.frames"),
    ],
)  # fmt: skip
def test_impossible_sizes_are_named(buckets: list[dict[str, int]], message: str, tar: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        split(tar, buckets=buckets)


def test_a_set_without_a_clip_of_the_models_size_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", {f"{name}.png": image("png") for name in "ab"} | {f"{name}.txt": b"x" for name in "ab"})
    data = split(tmp_path)
    assert isinstance(data.train, BucketedClips)
    with pytest.raises(DataError, match="no clip of 4x16x16, which the model makes"):
        data.train.latents(None)  # type: ignore[arg-type]


grid = st.builds(
    GridSize, st.integers(1, 8), st.integers(1, 12).map(lambda n: 8 * n), st.integers(1, 12).map(lambda n: 8 * n)
)


@given(extent=grid, chosen=st.lists(grid, min_size=1, max_size=6))
def test_the_best_size_fills_most_frames_and_then_crops_least(extent: GridSize, chosen: list[GridSize]) -> None:
    best = best_size(extent, chosen)
    fitting = [size for size in chosen if size.frames <= extent.frames]
    if best is None:
        assert not fitting
        return
    assert best.frames == max(size.frames for size in fitting)

    def left(size: GridSize) -> float:
        height = min(extent.height, extent.width * size.height / size.width)
        return height * height * size.width / size.height / (extent.height * extent.width)

    rivals = [size for size in fitting if size.frames == best.frames]
    assert np.isclose(left(best), max(map(left, rivals)))
