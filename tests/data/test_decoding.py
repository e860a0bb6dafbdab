from __future__ import annotations

import weakref
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from nas.data import ClipShape
from nas.data.videos.decoding import iter_clips
from nas.data.videos.media import Media
from nas.errors import DataError
from nas.processors import processors
from tests.data.conftest import decode_clips, encode, numbered


def frame_numbers(video_TCHW: torch.Tensor) -> list[int]:
    return [round(float(frame.float().mean()) / 4) for frame in video_TCHW]


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    return path


def test_every_frame_at_the_source_rate(tmp_path: Path) -> None:
    path = written(tmp_path, encode(numbered(30), 24))
    (clip,) = decode_clips(path, ClipShape(30, 48, 64, 24))
    assert clip.dtype == torch.uint8
    assert frame_numbers(clip) == list(range(30))


@pytest.mark.parametrize(("fps", "frames"), [(8, 16), (10, 20), (12, 24), (16, 32), (30, 60), (48, 96)])
def test_nearest_frame_in_time(tmp_path: Path, fps: int, frames: int) -> None:
    path = written(tmp_path, encode(numbered(48), 24))
    (clip,) = decode_clips(path, ClipShape(frames, 16, 16, fps))
    shown = np.array(frame_numbers(clip))
    assert np.abs(shown / 24 - np.arange(frames) / fps).max() <= 0.5 / 24 + 1e-9


def test_uneven_time_stamps(tmp_path: Path) -> None:
    gaps = [0, 1, 2, 12, 13, 24]
    path = written(tmp_path, encode(numbered(6), 24, gaps=gaps))
    (clip,) = decode_clips(path, ClipShape(5, 48, 64, 4))
    # 0, 6, 12, 18 and 24 of 1/24 s: the nearest stamps are 0, 2, 12, 13 and 24.
    assert frame_numbers(clip) == [0, 2, 3, 4, 5]


def test_windows_follow_without_overlap(tmp_path: Path) -> None:
    path = written(tmp_path, encode(numbered(50), 24))
    clips = decode_clips(path, ClipShape(16, 48, 64, 24))
    assert [frame_numbers(clip) for clip in clips] == [list(range(i, i + 16)) for i in (0, 16, 32)]


def test_exact_length_is_one_clip_and_less_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, encode(numbered(24), 24))
    assert len(decode_clips(path, ClipShape(8, 16, 16, 8))) == 1
    assert decode_clips(path, ClipShape(9, 16, 16, 8)) == []


def quadrants(height: int, width: int) -> np.ndarray:
    """Two frames: red left half, blue right half, the top eighth white."""
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[:, : width // 2, 0] = frame[:, width // 2 :, 2] = 200
    frame[: height // 8] = 255
    return np.stack([frame, frame])


def test_centre_crop_keeps_aspect(tmp_path: Path) -> None:
    frame = np.zeros((64, 128, 3), dtype=np.uint8)
    frame[:, :32] = frame[:, 96:] = 255  # cropped away
    path = written(tmp_path, encode(np.stack([frame, frame]), 24))
    (clip,) = decode_clips(path, ClipShape(2, 32, 32, 24))
    assert clip[..., 2:-2].max() < 10


def test_resize_averages_over_area(tmp_path: Path) -> None:
    frame = np.zeros((64, 64, 3), dtype=np.uint8)
    frame[::2] = 200  # finer than the target: must become even grey, without aliasing
    path = written(tmp_path, encode(np.stack([frame, frame]), 24))
    (clip,) = decode_clips(path, ClipShape(2, 12, 12, 24))
    assert (clip.float() - 100).abs().max() < 12


def test_turned_video_is_set_upright(tmp_path: Path) -> None:
    data = encode(quadrants(64, 64), 24)
    upright = (b"\x00\x01\x00\x00" + bytes(12)) * 2 + b"\x40\x00\x00\x00"
    # A phone held upright: the header says to turn the picture by 90 degrees clockwise.
    turned = bytes(4) + b"\x00\x01\x00\x00" + bytes(4) + b"\xff\xff\x00\x00" + bytes(16) + b"\x40\x00\x00\x00"
    assert len(upright) == len(turned)
    track = data.index(upright, data.index(b"tkhd"))
    (clip,) = decode_clips(
        written(tmp_path, data[:track] + turned + data[track + len(turned) :]), ClipShape(2, 64, 64, 24)
    )
    rgb = clip[0].float()
    assert rgb[:, :, -4:].min() > 200  # the white top went to the right
    assert rgb[0, 8:24, 8:40].min() > 150  # the red left half went to the top
    assert rgb[2, 40:56, 8:40].min() > 150


def test_files_that_are_no_video(tmp_path: Path) -> None:
    shape = ClipShape(2, 16, 16, 8)
    for data in (b"", b"file,caption\n" * 100, bytes(4000)):
        with pytest.raises(DataError, match=r"clip\.mp4: cannot be decoded"):
            decode_clips(written(tmp_path, data), shape)


@pytest.mark.parametrize("faststart", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_truncated_files_are_damaged(tmp_path: Path, faststart: bool, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 64, 3), dtype=np.uint8)
    data = encode(noise, 24, faststart=faststart)
    with pytest.raises(DataError, match=r"clip\.mp4: (truncated|cannot be decoded)"):
        decode_clips(written(tmp_path, data[: int(share * len(data))]), ClipShape(2, 16, 16, 8))


def test_sound_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"clip\.mp4: holds no video stream"):
        decode_clips(path, ClipShape(2, 16, 16, 8))


def test_a_header_without_frames(tmp_path: Path) -> None:
    data = encode(numbered(4), 24)
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    with pytest.raises(DataError, match=r"clip\.mp4: cannot be decoded"):
        decode_clips(written(tmp_path, data[:start] + bytes(end - start) + data[end:]), ClipShape(2, 16, 16, 8))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the system does not list threads")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_video_is_decoded_by_the_threads_that_torch_computes_with(tmp_path: Path, threads: int) -> None:
    media = Media.file(written(tmp_path, encode(numbered(48), 24)))
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        before = sum(1 for _ in Path("/proc/self/task").iterdir())
        most = 0
        for _ in iter_clips(media, ClipShape(2, 16, 16, 24)):
            most = max(most, sum(1 for _ in Path("/proc/self/task").iterdir()))
    finally:
        torch.set_num_threads(usual)
    # A decoder of one thread decodes in the thread that asks for the frames.
    assert most - before == (0 if min(threads, processors()) == 1 else min(threads, processors()))


def test_memory_does_not_grow_with_a_video(tmp_path: Path) -> None:
    media = Media.file(written(tmp_path, encode(numbered(48), 24)))
    alive = [weakref.ref(clip) for clip in iter_clips(media, ClipShape(2, 16, 16, 24))]
    assert len(alive) == 24
    assert sum(clip() is not None for clip in alive) <= 1
