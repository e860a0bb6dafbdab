from __future__ import annotations

import itertools
import json
import logging
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.data import ClipShape, VideoDataset
from nas.data.videos import folder as video_folder
from nas.data.videos.decoding import iter_clips
from nas.data.videos.media import Media
from nas.errors import DataError
from nas.files import atomic_folder
from tests.data.conftest import encode, numbered

SHAPE = ClipShape(frames=8, height=12, width=16, fps=8)


def caches(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / ".nas-cache").iterdir() if not path.name.startswith("."))


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(video_folder, "iter_clips", refuse)


def test_clips_names_and_captions(folder: Path) -> None:
    dataset = VideoDataset.open(folder, SHAPE)
    assert dataset.names == ("a.mp4#0", "a.mp4#1", "b.mp4#0", "b.mp4#1", "c.mp4#0")
    assert dataset.captions == ("grey, brighter", "grey, brighter", "a fade", "a fade", "short")
    clip = dataset[1]
    assert (clip.name, clip.caption) == ("a.mp4#1", "grey, brighter")
    assert clip.video_TCHW.shape == SHAPE.size_TCHW
    assert clip.video_TCHW.dtype == torch.uint8
    assert [round(float(frame.float().mean()) / 4) for frame in clip.video_TCHW] == list(range(24, 48, 3))
    assert torch.equal(dataset[-1].video_TCHW, dataset[4].video_TCHW)
    with pytest.raises(IndexError):
        dataset[5]


def test_second_opening_reads_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = VideoDataset.open(folder, SHAPE)
    forbid_decoding(monkeypatch)
    second = VideoDataset.open(folder, SHAPE)
    assert (second.names, second.captions, second.fingerprint) == (first.names, first.captions, first.fingerprint)
    assert all(torch.equal(a.video_TCHW, b.video_TCHW) for a, b in zip(first, second, strict=True))


def test_clones_agree_whatever_their_dates(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = VideoDataset.open(folder, SHAPE, cache=cache)
    clone = shutil.copytree(folder, tmp_path / "clone")
    os.utime(clone / "a.mp4", (0, 0))
    assert not (folder / ".nas-cache").exists()
    forbid_decoding(monkeypatch)
    assert VideoDataset.open(clone, SHAPE, cache=cache).fingerprint == first.fingerprint


def test_any_change_makes_another_cache(folder: Path) -> None:
    prints = [VideoDataset.open(folder, SHAPE).fingerprint]
    prints.append(VideoDataset.open(folder, ClipShape(8, 12, 16, 12)).fingerprint)
    (folder / "b.mp4").write_bytes(encode(numbered(48)[::-1], 24))
    prints.append(VideoDataset.open(folder, SHAPE).fingerprint)
    captions = folder / "captions.csv"
    captions.write_text(captions.read_text().replace("a fade", "a slow fade"))
    prints.append(VideoDataset.open(folder, SHAPE).fingerprint)
    assert len(set(prints)) == 4
    assert {path.name for path in caches(folder)} == set(prints)


def test_a_large_set_spreads_over_shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = VideoDataset.open(folder, SHAPE, cache=folder / "whole")
    monkeypatch.setattr("nas.data.videos.decoded_shards._SHARD_BYTES", 2 * 8 * 3 * 12 * 16)
    parts = VideoDataset.open(folder, SHAPE, cache=folder / "parts")
    assert len(list((folder / "parts").rglob("*.safetensors"))) == 3
    assert all(torch.equal(a.video_TCHW, b.video_TCHW) for a, b in zip(whole, parts, strict=True))


def test_it_survives_pickling_for_worker_processes(folder: Path) -> None:
    dataset = VideoDataset.open(folder, SHAPE)
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301  # as a DataLoader does it
    assert torch.equal(copy[3].video_TCHW, dataset[3].video_TCHW)


def test_damaged_and_short_videos_are_skipped_with_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = (folder / "a.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(good[: len(good) // 2])
    (folder / "text.mp4").write_text("this is no video\n" * 200)
    (folder / "blink.mp4").write_bytes(encode(numbered(6), 24))
    with (folder / "captions.csv").open("a") as file:
        file.write("cut.mp4,truncated\ntext.mp4,a text\nblink.mp4,too short\n")
    for _ in range(2):  # from the cache, the warning comes again
        caplog.clear()
        with caplog.at_level(logging.WARNING, "nas"):
            dataset = VideoDataset.open(folder, SHAPE)
        (record,) = caplog.records
        text = record.getMessage()
        assert "left out 3 of 6 videos: 2 damaged: cut.mp4" in text
        assert "text.mp4" in text
        assert "1 shorter than 1 s: blink.mp4" in text
        assert {name.split("#")[0] for name in dataset.names} == {"a.mp4", "b.mp4", "c.mp4"}


def test_nothing_usable_is_an_error_and_leaves_no_cache(folder: Path) -> None:
    for name in "abc":
        (folder / f"{name}.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"videos: no usable video: 3 damaged: a\.mp4 .*b\.mp4"):
        VideoDataset.open(folder, SHAPE)
    assert list((folder / ".nas-cache").iterdir()) == []


def test_all_too_short_says_how_long_a_clip_is(folder: Path) -> None:
    with pytest.raises(DataError, match="no usable video: 3 shorter than 10 s"):
        VideoDataset.open(folder, ClipShape(80, 12, 16, 8))


def test_an_interrupted_decoding_is_never_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = video_folder.iter_clips

    def interrupted(media: Media, shape: ClipShape) -> Iterator[torch.Tensor]:
        if media.path.name == "c.mp4":
            raise KeyboardInterrupt
        return real(media, shape)

    monkeypatch.setattr(video_folder, "iter_clips", interrupted)
    with pytest.raises(KeyboardInterrupt):
        VideoDataset.open(folder, SHAPE)
    assert list((folder / ".nas-cache").iterdir()) == []
    monkeypatch.setattr(video_folder, "iter_clips", real)
    assert len(VideoDataset.open(folder, SHAPE)) == 5


def broken_cache(folder: Path, fault: str) -> Path:
    VideoDataset.open(folder, SHAPE)
    (store,) = caches(folder)
    (shard,) = store.glob("*.safetensors")
    index = store / "index.json"
    data = shard.read_bytes()
    if fault == "flipped":
        shard.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif fault == "truncated":
        shard.write_bytes(data[:100])
    elif fault == "missing":
        shard.unlink()
    elif fault == "no index":
        index.unlink()
    elif fault == "not json":
        index.write_text("{")
    elif fault == "foreign":
        index.write_text(json.dumps(json.loads(index.read_text()) | {"fingerprint": "0" * 16}))
    elif fault == "unknown shard":
        index.write_text(index.read_text().replace('"shard": 0', '"shard": 7'))
    return store


FAULTS = ["flipped", "truncated", "missing", "no index", "not json", "foreign", "unknown shard"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_corrupt_cache_says_which_folder_to_delete(folder: Path, fault: str) -> None:
    store = broken_cache(folder, fault)
    with pytest.raises(DataError, match="delete this folder") as caught:
        VideoDataset.open(folder, SHAPE)[0]
    assert str(store) in str(caught.value)
    shutil.rmtree(store)
    assert len(list(VideoDataset.open(folder, SHAPE))) == 5


def test_a_foreign_shard_of_another_shape(folder: Path) -> None:
    dataset = VideoDataset.open(folder, SHAPE)
    dataset.reader.shape = ClipShape(8, 16, 16, 8)
    with pytest.raises(DataError, match="clips of another shape"):
        dataset[0]


def test_two_writers_leave_a_whole_cache(folder: Path) -> None:
    first = VideoDataset.open(folder, SHAPE)
    (store,) = caches(folder)
    with atomic_folder(store, "clips") as again:  # a second process that decoded the same videos finishes later
        shutil.copytree(store, again, dirs_exist_ok=True)
    assert np.array_equal(first[0].video_TCHW, VideoDataset.open(folder, SHAPE)[0].video_TCHW)


def test_a_damaged_video_between_others_leaves_no_trace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Shards of two clips: those of a damaged video are written before it turns out to be one.
    monkeypatch.setattr("nas.data.videos.decoded_shards._SHARD_BYTES", 2 * 8 * 3 * 12 * 16)
    whole = VideoDataset.open(folder, SHAPE)
    noise = np.random.default_rng(0).integers(0, 255, (144, 48, 64, 3), dtype=np.uint8)
    data = encode(noise, 24, faststart=True)
    (folder / "aa.mp4").write_bytes(data[: int(0.8 * len(data))])
    clips = iter_clips(Media.file(folder / "aa.mp4"), SHAPE)
    assert len(list(itertools.islice(clips, 3))) == 3
    with pytest.raises(DataError):
        list(clips)
    captions = (folder / "captions.csv").read_text().replace("b.mp4", "aa.mp4,cut\nb.mp4")
    (folder / "captions.csv").write_text(captions)
    again = VideoDataset.open(folder, SHAPE)
    assert again.reader.index.clips == whole.reader.index.clips
    assert again.reader.index.shards == whole.reader.index.shards
    assert list(again.reader.index.damaged) == ["aa.mp4"]
    assert len(list(again.reader.folder.glob("*.safetensors"))) == len(whole.reader.index.shards)
