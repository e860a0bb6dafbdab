"""Real video files, made with PyAV."""

from __future__ import annotations

import functools
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from nas.data import ClipShape
from nas.data.videos.decoding import iter_clips
from nas.data.videos.media import Media


def encode(frames: np.ndarray, fps: int, *, gaps: list[int] | None = None, faststart: bool = False) -> bytes:
    """An MP4 of RGB frames T x H x W x 3; `gaps` lists each frame's time stamp in units of 1 / fps.

    Equal videos are encoded once.
    """
    stamps = None if gaps is None else tuple(gaps)
    return _encoded(frames.tobytes(), frames.shape, fps, stamps, faststart)


@functools.cache
def _encoded(pixels: bytes, shape: tuple[int, ...], fps: int, gaps: tuple[int, ...] | None, faststart: bool) -> bytes:
    frames = np.frombuffer(pixels, dtype=np.uint8).reshape(shape)
    options = {"movflags": "faststart"} if faststart else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w", options=options) as container:
            stream = container.add_stream("libx264", rate=fps, options={"crf": "4", "preset": "ultrafast"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv444p"
            for number, frame_HWC in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")
                frame.pts = number if gaps is None else gaps[number]
                frame.time_base = Fraction(1, fps)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


def decode_clips(path: Path, shape: ClipShape) -> list[torch.Tensor]:
    """All clips of a video file."""
    return list(iter_clips(Media.file(path), shape))


def numbered(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """Grey frames whose level is 4 x their number, so that a frame can be told by its pixels."""
    levels = (4 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return np.broadcast_to(levels, (count, height, width, 3)).copy()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three good videos: two of 2 s, one of 1 s, at 24 frames per second."""
    target = tmp_path / "videos"
    target.mkdir()
    for name, count in (("a.mp4", 48), ("b.mp4", 48), ("c.mp4", 24)):
        (target / name).write_bytes(encode(numbered(count) + ord(name[0]) % 4, 24))
    (target / "captions.csv").write_text('file,caption\na.mp4,"grey, brighter"\nb.mp4,a fade\nc.mp4,short\n')
    return target
