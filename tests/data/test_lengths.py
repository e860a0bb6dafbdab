"""How long a video lasts: what its packets and its header say of it, in several containers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from nas.data import ClipShape
from nas.data.videos.decoding import measure
from nas.data.videos.media import Media
from nas.errors import DataError
from tests.data.conftest import decode_clips, encode, numbered


def written(path: Path, stamps: list[int], last: int, codec: str, pixels: str = "yuv420p") -> Path:
    """A video whose frames begin at `stamps`, in 1/24 s, the last one standing for `last` of them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
        stream.codec_context.max_b_frames = 0
        packets = []
        for stamp, rgb_HWC in zip(stamps, numbered(len(stamps)), strict=True):
            frame = av.VideoFrame.from_ndarray(rgb_HWC, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = stamp, Fraction(1, 24)
            packets += stream.encode(frame)
        packets += stream.encode()
        for packet, end in zip(packets, [*stamps[1:], stamps[-1] + last], strict=True):
            packet.duration = end - packet.pts
            container.mux(packet)
    return path


def frames(path: Path, fps: float) -> int:
    return measure(Media.file(path), fps).frames


KINDS = {"mov": ("mjpeg", "yuvj420p"), "mp4": ("libx264", "yuv420p"), "mkv": ("libx264", "yuv420p"),
         "webm": ("libvpx", "yuv420p"), "avi": ("mpeg4", "yuv420p"), "wmv": ("wmv2", "yuv420p"),
         "gif": ("gif", "rgb8")}  # fmt: skip


@pytest.mark.parametrize("suffix", KINDS)
def test_the_last_frame_stands_as_long_as_the_file_says(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"screen.{suffix}", list(range(24)), 9 * 24, *KINDS[suffix])
    assert frames(path, 8) in {79, 80}  # some formats count in hundredths of a second
    clips = decode_clips(path, ClipShape(20, 48, 64, 8))
    assert len(clips) >= 3
    assert all(abs(int(frame.float().mean()) - 4 * 23) < 6 for frame in clips[2])


@pytest.mark.parametrize("suffix", ["mov", "mkv"])
def test_a_long_gap_before_the_last_frame_says_nothing_of_it(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"slides.{suffix}", [0, 240], 24, *KINDS[suffix])
    assert frames(path, 1) == 11


def test_frames_out_of_order_do_not_make_a_video_longer(tmp_path: Path) -> None:
    # H.264 stores a frame before those that depend on it; its packet then lasts until the next packet, not frame.
    path = tmp_path / "uneven.mp4"
    path.write_bytes(encode(numbered(6), 24, gaps=[0, 1, 2, 12, 13, 24]))
    assert frames(path, 24) in {25, 26}


@pytest.mark.parametrize("suffix", ["mov", "mp4", "avi", "wmv"])
def test_what_is_cut_off_is_damaged_though_the_last_frame_could_stand(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"cut.{suffix}", list(range(96)), 24, *KINDS[suffix])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"truncated|cannot be decoded"):
        frames(path, 8)


def test_a_matroska_file_that_is_cut_off_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    noise = np.random.default_rng(0).integers(0, 255, (96, 48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "10", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for rgb_HWC in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb_HWC, format="rgb24")))
        container.mux(stream.encode())
    assert frames(path, 8) == 32
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"truncated: ends after \d\.\d s of 4.0 s"):
        frames(path, 8)


def test_videos_joined_without_one_time_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "part.ts", list(range(48)), 1, "mpeg2video")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * path.read_bytes())
    with pytest.raises(DataError, match=r"its time goes back from 2\.0 s to 0\.0 s; encode it again"):
        frames(joined, 8)


def test_a_frame_that_stands_for_hours_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "still.mov", [0, 1], 24 * 7200, *KINDS["mov"])
    with pytest.raises(DataError, match="one frame claims to last 7200 s"):
        frames(path, 8)


def test_a_stream_without_a_container_has_the_rate_that_it_says(tmp_path: Path) -> None:
    data = {}
    for kind, codec, pixels in (("h264", "libx264", "yuv420p"), ("mjpeg", "mjpeg", "yuvj420p")):
        path = tmp_path / f"bare.{kind}"
        with av.open(str(path), "w", format=kind) as container:
            stream = container.add_stream(codec, rate=60)
            stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
            for rgb_HWC in numbered(60):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb_HWC, format="rgb24")))
            container.mux(stream.encode())
        data[kind] = path
    assert frames(data["h264"], 10) == 10
    with pytest.raises(DataError, match="it has neither times of frames nor a frame rate; put it into a container"):
        frames(data["mjpeg"], 10)
