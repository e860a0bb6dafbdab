"""Files with several streams of pictures: which of them is the video."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from nas.data import ClipShape
from nas.errors import DataError
from tests.data.conftest import decode_clips, encode, numbered


def boxes(data: bytes) -> dict[str, bytes]:
    """The boxes of an MP4, or of one box's content, by kind."""
    found, start = {}, 0
    while start < len(data):
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        found[kind.decode()] = data[start : start + size]
        start += size
    return found


def with_cover(video: bytes, width: int = 640) -> bytes:
    """An MP4 with a cover picture before its video, so that the picture is stream 0."""
    file = io.BytesIO()
    with av.open(file, "w", format="mjpeg") as picture:
        stream = picture.add_stream("mjpeg")
        stream.height, stream.width, stream.pix_fmt = 480, width, "yuvj420p"
        picture.mux(stream.encode(av.VideoFrame(width, 480, "yuvj420p")))
        picture.mux(stream.encode())
    data = struct.pack(">II", 13, 0) + file.getvalue()
    meta = box("hdlr", bytes(8) + b"mdirappl" + bytes(9))
    meta = bytes(4) + meta + box("ilst", box("covr", box("data", data)))
    parts = boxes(video)
    inner = boxes(parts["moov"][8:])
    kept = [inner[kind] for kind in inner if kind != "udta"]
    # After the boxes with the frames, so that nothing that is referred to moves.
    return b"".join(parts[kind] for kind in parts if kind != "moov") + box(
        "moov", kept[0] + box("udta", box("meta", meta)) + b"".join(kept[1:])
    )


def box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def two_streams(path: Path, sizes: list[int], default: int | None) -> None:
    """A film of several streams, each darker than the one before."""
    with av.open(str(path), "w") as container:
        streams = []
        for number, size in enumerate(sizes):
            stream = container.add_stream("mpeg4", rate=24)
            stream.height = stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.disposition = Disposition.default if number == default else Disposition(0)
            streams.append(stream)
        for number, stream in enumerate(streams):
            for _ in range(4):
                pixels = np.full((stream.height, stream.width, 3), 200 - 60 * number, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())


def test_a_cover_picture_before_the_video_is_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(with_cover(encode(numbered(24), 24)))
    with av.open(str(path)) as container:
        assert [bool(each.disposition & Disposition.attached_pic) for each in container.streams.video] == [True, False]
    (clip,) = decode_clips(path, ClipShape(24, 48, 64, 24))
    assert [round(float(frame.float().mean()) / 4) for frame in clip] == list(range(24))


def test_a_cover_alone_is_no_video(tmp_path: Path) -> None:
    data = encode(numbered(2), 24)
    parts = boxes(with_cover(data))
    inner = boxes(parts["moov"][8:])
    moov = box("moov", b"".join(inner[kind] for kind in inner if kind != "trak"))
    (tmp_path / "song.mp4").write_bytes(parts["ftyp"] + moov)
    with pytest.raises(DataError, match=r"song\.mp4: holds a cover picture, but no video stream"):
        decode_clips(tmp_path / "song.mp4", ClipShape(2, 16, 16, 8))


@pytest.mark.parametrize(
    ("sizes", "default", "chosen"),
    [([32, 64], None, 1), ([64, 32], None, 0), ([64, 64], None, 0), ([64, 32], 1, 1), ([32, 64], 0, 0)],
)
def test_the_largest_stream_is_shown_unless_another_is_marked(
    sizes: list[int], default: int | None, chosen: int, tmp_path: Path
) -> None:
    two_streams(tmp_path / "film.mkv", sizes, default)
    (clip, *_) = decode_clips(tmp_path / "film.mkv", ClipShape(2, 16, 16, 24))
    assert abs(float(clip.float().mean()) - (200 - 60 * chosen)) < 5
