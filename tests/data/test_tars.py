"""Tars of samples, written by tarfile and read by offset."""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nas.data import ClipDataset, ClipShape, VideoDataset, WebDatasetConfig, open_data
from nas.data.clips.dataset import source_file
from nas.data.tars.dataset import open_tars
from nas.data.tars.members import Member, grouped, read_members
from nas.data.videos import media
from nas.data.videos.film import Film
from nas.errors import DataError
from tests.data.conftest import decode_clips, encode, numbered

SHAPE = ClipShape(frames=8, height=12, width=16, fps=8)


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def image(suffix: str, height: int = 24, width: int = 32, level: int = 80) -> bytes:
    file = io.BytesIO()
    pixels = Image.fromarray(np.full((height, width, 3), level, dtype=np.uint8))
    pixels.save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix])
    return file.getvalue()


def video(count: int = 24, level: int = 0) -> bytes:
    return encode(numbered(count) + level, 24)


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars: with videos of one and of two clips, captions in .txt and in .json."""
    folder = tmp_path / "tars"
    for number in range(3):
        files = {
            f"{number}00.mp4": video(24, number),
            f"{number}00.txt": f"clip {number}\n".encode(),
            f"deep/{number}01.json": json.dumps({"caption": f"other  {number}", "width": 64}).encode(),
            f"deep/{number}01.mp4": video(48, number),
        }
        pack(folder / f"s-{number}.tar", files)
    return folder


def opened(path: Path, shape: ClipShape = SHAPE, **options: Any) -> ClipDataset:
    found = open_tars(path, shape, (shape.size,), **{"window": 1} | options)
    assert isinstance(found, ClipDataset)
    return found


def test_clips_names_and_captions(tars: Path) -> None:
    clips = opened(tars)
    assert clips.names[:4] == ("s-0.tar/000.mp4#0", "s-0.tar/deep/001.mp4#0", "s-0.tar/deep/001.mp4#1",
                               "s-1.tar/100.mp4#0")  # fmt: skip
    assert clips.captions[:4] == ("clip 0", "other 0", "other 0", "clip 1")
    assert clips.order.shards == (3, 3, 3)


def test_a_clip_is_that_of_a_file(tars: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "x.mp4").write_bytes(video(48, 2))
    (tmp_path / "videos" / "captions.csv").write_text("file,caption\nx.mp4,x\n")
    files, clips = VideoDataset.open(tmp_path / "videos", SHAPE), opened(tars)
    for index in (1, 0):  # backwards, too
        assert torch.equal(clips[7 + index].video_TCHW, files[index].video_TCHW)


def test_images_are_clips_of_one_frame(tmp_path: Path) -> None:
    names = ("jpg", "png", "webp")
    files = {f"{name}.{name}": image(name) for name in names} | {f"{name}.txt": b"grey" for name in names}
    pack(tmp_path / "a.tar", files)
    clips = opened(tmp_path, ClipShape(1, 12, 16, 8))
    assert [source_file(name) for name in clips.names] == [f"a.tar/{name}.{name}" for name in names]
    assert all((clip.video_TCHW.int() - 80).abs().max() < 3 for clip in clips)
    with pytest.raises(DataError, match=r"no usable video or image: a.tar/jpg.jpg \(shorter than 8 frames\)"):
        opened(tmp_path)


def test_a_pattern_chooses_tars(tars: Path) -> None:
    assert {name.split("/")[0] for name in opened(tars / "s-[01].tar").names} == {"s-0.tar", "s-1.tar"}
    assert {name.split("/")[0] for name in opened(tars.parent / "*" / "s-2.tar").names} == {"tars"}
    for path, message in ((tars / "t-*", "no tar matches t-*"), (tars / "none", "no such folder of tars")):
        with pytest.raises(DataError) as caught:
            opened(path)
        assert message in str(caught.value)


def test_what_cannot_be_used_is_listed_and_left_out(tars: Path, caplog: pytest.LogCaptureFixture) -> None:
    good, damaged = video(), bytearray(video())
    damaged[-600:] = bytes(600)
    pack(tars / "s-3.tar", {
        "fine.mp4": good, "fine.txt": b"fine", "fine.seg.png": b"no image, and not asked for", "note.md": b"",
        "silent.mp4": good,
        "wrong.mp4": good, "wrong.json": b'{"text": 3}',
        "blank.mp4": good, "blank.txt": b" \n",
        "alone.txt": b"no video",
        "broken.mp4": bytes(damaged[: len(damaged) // 2]), "broken.txt": b"broken",
        "twins.mp4": good, "twins.webm": good, "twins.txt": b"twins",
        "../outside.mp4": good, "../outside.txt": b"outside",
        "/etc/absolute.mp4": good,
        "poster.mp4": good, "poster.jpg": image("jpg"), "poster.txt": b"the video counts",
    })  # fmt: skip
    whole = (tars / "s-2.tar").read_bytes()
    (tars / "s-4.tar").write_bytes(whole[: len(whole) // 2])
    (tars / "s-5.tar").write_bytes(b"no tar")
    middle = bytearray(whole)
    with (tars / "s-2.tar").open("rb") as file:
        header = list(read_members(file))[2].offset - 512
    middle[header : header + 512] = b"x" * 512
    (tars / "s-6.tar").write_bytes(bytes(middle))
    with caplog.at_level(logging.WARNING):
        clips = opened(tars)
    assert [name for name in clips.names if name.startswith("s-3")] == ["s-3.tar/fine.mp4#0", "s-3.tar/poster.mp4#0"]
    assert len(clips) == 11
    (index,) = (json.loads(path.read_text()) for path in (tars / ".nas-cache").glob("s-3-*.json"))
    reasons = index["damaged"]
    assert set(reasons) == {"silent", "wrong", "blank", "alone", "broken", "twins", "../outside.mp4",
                            "../outside.txt", "/etc/absolute.mp4"}  # fmt: skip
    assert "no caption" in reasons["silent"]
    assert "under the key caption" in reasons["wrong"]
    assert "leaves the tar" in reasons["../outside.mp4"]
    assert "left out 12 of 20 samples" in caplog.text
    for number, reason in ((4, "unexpected end|truncated"), (5, "is not a tar"), (6, "damaged or truncated")):
        (index,) = (json.loads(path.read_text()) for path in (tars / ".nas-cache").glob(f"s-{number}-*.json"))
        assert not index["samples"]
        assert any(part in index["damaged"]["."] for part in reason.split("|")), index["damaged"]


def test_a_compressed_tar_is_left_out_with_the_reason(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz") as archive:
        archive.add(__file__, "a.txt")
    with pytest.raises(DataError, match=r"a.tar \(is not a tar that can be read by offset \(compressed ones cannot\)"):
        opened(tmp_path)


def test_tars_are_indexed_once_and_again_when_they_change(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(tars)
    read: list[Path] = []
    from nas.data.tars import index as tar_index

    real = tar_index.make_index
    monkeypatch.setattr(tar_index, "make_index", lambda path, *options: read.append(path) or real(path, *options))
    second = opened(tars)
    assert not read
    assert (second.names, second.fingerprint) == (first.names, first.fingerprint)
    pack(tars / "s-1.tar", {"new.mp4": video(), "new.txt": b"new"})
    with pytest.raises(DataError, match=r"s-1.tar: has changed since it was indexed; run the same command again"):
        first[3]
    assert "s-1.tar/new.mp4#0" in opened(tars).names
    assert read == [tars / "s-1.tar"]
    next((tars / ".nas-cache").glob("s-0-*.json")).write_text("{")
    opened(tars)
    assert read == [tars / "s-1.tar", tars / "s-0.tar"]


def test_copies_have_one_fingerprint_and_other_content_another(tars: Path, tmp_path: Path) -> None:
    first = opened(tars)
    copy = tmp_path / "copy"
    for path in tars.glob("*.tar"):
        pack(copy / path.name, {})
        (copy / path.name).write_bytes(path.read_bytes())
        os.utime(copy / path.name, (0, 0))
    assert opened(copy).fingerprint == first.fingerprint
    assert opened(copy, window=2).fingerprint != first.fingerprint
    assert not list(copy.glob("**/*.lock"))


def test_indices_go_where_the_configuration_says(tars: Path, tmp_path: Path) -> None:
    config = WebDatasetConfig(kind="webdataset", path="tars", cache="kept")
    data = open_data(config, SHAPE, base=tmp_path, validation_fraction=0.3)
    assert len(list((tmp_path / "kept").glob("*.json"))) == 3
    assert not (tars / ".nas-cache").exists()
    files = [{source_file(name) for name in side.names} for side in (data.train, data.validation)]
    assert not files[0] & files[1]
    assert len(files[0] | files[1]) == 6


def test_consecutive_batches_read_few_tars(tars: Path) -> None:
    clips = opened(tars)
    tar_of = [name.split("/")[0] for name in clips.names]
    for epoch in range(4):
        sequence = [tar_of[index] for step in range(3) for index in clips.order.batch(3, 1, 3 * epoch + step)]
        assert [len(set(sequence[first : first + 3])) for first in (0, 3, 6)] == [1, 1, 1]
    orders = {tuple(clips.order.epoch(1, epoch).tolist()) for epoch in range(6)}
    assert len(orders) == 6


names = st.text("ab./-_1", min_size=1, max_size=8)


@given(st.lists(names, max_size=12), st.lists(st.sampled_from(["mp4", "txt", "json", "jpg", "TXT", "x"]), min_size=12))
def test_every_file_of_a_tar_is_grouped_refused_or_of_no_use(keys: list[str], suffixes: list[str]) -> None:
    members = [Member(f"{key}.{suffix}", 0, 1) for key, suffix in zip(keys, suffixes, strict=False)]
    groups, refused = grouped(members)
    for member in members:
        leaves = member.name.startswith("/") or ".." in member.name.split("/")
        assert (member.name in refused) == (leaves or (not member.last_suffix and member.name.endswith(("mp4", "jpg"))))
        plain = groups.get(member.key)
        if plain is not None and plain.has_media and {each.key for each in plain.members.values()} == {member.key}:
            continue  # what is beside a video and of no use to it is not asked for
        if member.name.split("/")[-1].startswith("._"):
            continue  # what macOS adds
        if member.name not in refused and member.last_suffix in {".mp4", ".jpg"}:
            assert member.last_suffix in groups[member.last_key].members
    for key, group in groups.items():
        assert all(key in (member.key, member.last_key) for member in group.members.values())
        assert not key.startswith("/")
        assert ".." not in key.split("/")


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=5), st.binary(max_size=1500)), max_size=6))
def test_members_are_read_where_they_lie(files: list[tuple[str, bytes]]) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    file.seek(0)
    read = [
        (member.name, file.getvalue()[member.offset : member.offset + member.size]) for member in read_members(file)
    ]
    assert read == files


def listed(folder: Path) -> dict[str, str]:
    (index,) = (json.loads(path.read_text()) for path in (folder / ".nas-cache").glob("*.json"))
    reasons: dict[str, str] = index["damaged"]
    return reasons


def test_names_with_several_dots_are_samples_of_their_own(tmp_path: Path) -> None:
    picture, text = image("png"), b"grey"
    pack(tmp_path / "a.tar", {
        "clip_1.0.png": picture, "clip_1.0.txt": text, "clip_1.1.png": picture, "clip_1.1.txt": text,
        "v1.2.3/take.4.PNG": picture, "v1.2.3/take.4.TXT": text,
        ".hidden.png": picture, ".hidden.txt": text,
        "plain.png": picture, "plain.txt": text, "plain.seg.png": b"of no use", "plain.cls": b"3",
        "alone.5.png": picture, "alone.txt": text,
        "words.6.txt": text,
    })  # fmt: skip
    clips = opened(tmp_path, ClipShape(1, 12, 16, 8))
    assert [source_file(name).removeprefix("a.tar/") for name in clips.names] == [
        "clip_1.0.png", "clip_1.1.png", "v1.2.3/take.4.PNG", ".hidden.png", "plain.png",
    ]  # fmt: skip
    reasons = listed(tmp_path)
    assert set(reasons) == {"alone", "alone.5", "words.6"}
    assert "no caption" in reasons["alone.5"]


def test_all_that_looks_like_a_sample_is_used_or_listed(tmp_path: Path) -> None:
    picture = image("png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in {"a.png": picture, "a.txt": b"grey", "e\u0301.png": picture, "\u00e9.txt": b"grey",
                           "old.flv": b"video", "photo.tiff": b"image", "._a.png": b"macOS", "README": b"-",
                           "half.png": picture, "half.json": b'{"caption": "\\ud800"}',
                           "deep.png": picture, "deep.json": b"[" * 9000}.items():  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in (("b.png", tarfile.LNKTYPE, "a.png"), ("b.txt", tarfile.LNKTYPE, "a.txt"),
                                   ("c.png", tarfile.SYMTYPE, "a.png"), ("c.txt", tarfile.LNKTYPE, "nowhere.txt"),
                                   ("d.mp4", tarfile.FIFOTYPE, "")):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        info = tarfile.TarInfo("wrong\udcff.png")
        info.size = len(picture)
        archive.addfile(info, io.BytesIO(picture))
    clips = opened(tmp_path, ClipShape(1, 12, 16, 8))
    assert [source_file(name) for name in clips.names] == ["a.tar/a.png", "a.tar/e\u0301.png", "a.tar/b.png"]
    assert torch.equal(clips[0].video_TCHW, clips[2].video_TCHW)
    reasons = listed(tmp_path)
    assert set(reasons) == {"old.flv", "photo.tiff", "half", "deep", "c.png", "c.txt", "d.mp4", "wrong\\udcff.png"}
    assert "not UTF-8" in reasons["wrong\\udcff.png"]
    assert "a link" in reasons["c.png"]
    assert ".flv files are not read" in reasons["old.flv"]


def film(path: Path, seconds: int, key_frame_every: int, codec: str = "libx264", **options: str) -> bytes:
    """A video of stripes that move, with its key frames at known places."""
    stripes_HWC = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = 48, 64, "yuv420p", key_frame_every
        for number in range(24 * seconds):
            frame = av.VideoFrame.from_ndarray(np.roll(stripes_HWC, number, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def test_a_clip_in_the_middle_of_a_film_decodes_no_more_than_from_its_key_frame_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = film(tmp_path / "x.mp4", 20, 24)
    pack(tmp_path / "tars" / "a.tar", {"x.mp4": data, "x.txt": b"stripes"})
    clips, decoded, decode = opened(tmp_path / "tars"), [0], Film._decode
    assert len(clips) == 20

    def counted(self: Film) -> Iterator[av.VideoFrame]:
        for frame in decode(self):
            decoded[0] += 1
            yield frame

    monkeypatch.setattr(Film, "_decode", counted)
    assert clips[10].video_TCHW.shape == SHAPE.size_TCHW
    assert decoded[0] <= 1 + 24 + 24 + 1  # the first of the film, a second before the clip, the clip, and the next


WAYS = [("mp4", "libx264", {}), ("mkv", "libx264", {"x264-params": "open-gop=1:bframes=3:keyint=24"}),
        ("mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=24"}), ("avi", "mpeg4", {}),
        ("webm", "libvpx", {}), ("mpg", "mpeg2video", {}), ("ts", "mpeg2video", {})]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "codec", "options"), WAYS)
def test_a_clip_by_itself_is_that_of_the_whole_video(
    suffix: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    data = film(tmp_path / f"x.{suffix}", 5, 24, codec, **options)
    pack(tmp_path / "tars" / "a.tar", {f"x.{suffix}": data, "x.txt": b"stripes"})
    for rate in (8, 24, 30):
        shape = ClipShape(7, 24, 32, rate)
        whole = decode_clips(tmp_path / f"x.{suffix}", shape)
        assert len(opened(tmp_path / "tars", shape)) == len(whole)
        for index in np.random.default_rng(rate).permutation(len(whole))[:6].tolist():
            assert torch.equal(opened(tmp_path / "tars", shape)[index].video_TCHW, whole[index])


def test_a_clip_costs_the_frames_since_its_key_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = film(tmp_path / "x.mp4", 60, 24, preset="ultrafast")
    pack(tmp_path / "tars" / "a.tar", {"x.mp4": data, "x.txt": b"stripes"})
    clips = opened(tmp_path / "tars")
    assert len(clips) == 60
    read = 0
    real = media.Part.readinto

    def counted(part: media.Part, buffer: bytearray) -> int:
        nonlocal read
        count = real(part, buffer)
        read += count
        return count

    monkeypatch.setattr(media.Part, "readinto", counted)
    clips[50]
    assert read < len(data) / 4
    before = read
    clips[51]  # goes on from there
    assert read - before < len(data) / 20


def test_several_threads_and_processes_read_one_set(tars: Path) -> None:
    clips = opened(tars)
    expected = [clip.video_TCHW for clip in clips]
    order = np.random.default_rng(0).integers(0, len(clips), 60).tolist()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: clips[index].video_TCHW, order))
    assert all(torch.equal(video, expected[index]) for video, index in zip(found, order, strict=True))
    copy = pickle.loads(pickle.dumps(clips))  # noqa: S301  # as a DataLoader does it
    assert torch.equal(copy[4].video_TCHW, expected[4])
