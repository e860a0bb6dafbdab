"""Writing clips for people to look at: MP4, GIF and a strip of frames.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from nas.errors import DataError
from nas.files import atomic_write

_CODECS = ("libx264", "h264", "mpeg4")  # The first that FFmpeg has is used.
_STRIP_HEIGHT = 96
_STRIP_GAP = 2


def write_mp4(video_TCHW: torch.Tensor, path: str | Path, fps: float, *, crf: int = 14) -> None:
    """Write a clip as MP4: H.264, or MPEG-4 where FFmpeg was built without an H.264 encoder.

    Players need even sizes, so the last row or column of an odd size is repeated.

    Args:
        video_TCHW: RGB frames, uint8.
        path: The file to write; it appears when it is complete.
        fps: Frames per second.
        crf: How much libx264 may lose, from 0, nothing, to 51. Other encoders choose for themselves.

    Raises:
        DataError: The tensor is not a video of that type, or the rate is not positive.
        StorageError: The file cannot be written.
    """
    frames_THWC = _frames(video_TCHW, fps)
    height, width = frames_THWC.shape[1:3]
    frames_THWC = np.pad(frames_THWC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    # Encoded in memory, because a full disk is then an OSError, which `atomic_write` turns into one line.
    data = _encode(frames_THWC, Fraction(fps).limit_denominator(1001), crf)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _encode(frames_THWC: npt.NDArray[np.uint8], rate: Fraction, crf: int) -> bytes:
    codec = next(name for name in _CODECS if name in av.codecs_available)
    options = {"crf": str(crf), "preset": "slow"} if codec == "libx264" else {}
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = cast(av.VideoStream, container.add_stream(codec, rate=rate, options=options))
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        if codec != "libx264":
            stream.bit_rate = frames_THWC[0].size * 24  # three bits per pixel at 24 frames per second
        for frame_HWC in frames_THWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def write_gif(video_TCHW: torch.Tensor, path: str | Path, fps: float) -> None:
    """Write a clip as an endless GIF.

    The format counts in hundredths of a second, and viewers slow down frames shorter than two of them. The rate is
    therefore the nearest possible one, at most 50 frames per second. See `write_mp4` for the rest.
    """
    frames = [Image.fromarray(frame_HWC) for frame_HWC in _frames(video_TCHW, fps)]
    duration_ms = 10 * max(round(100 / fps), 2)
    with atomic_write(path) as temporary:
        frames[0].save(
            temporary, format="GIF", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, disposal=1
        )


def frame_strip(video_TCHW: torch.Tensor, path: str | Path, every: int = 1) -> None:
    """Write frames side by side as a PNG; tiny ones are magnified pixel by pixel.

    Args:
        video_TCHW: RGB frames, uint8.
        path: The PNG to write; it appears when it is complete.
        every: Show one frame in this many, beginning with the first.

    Raises:
        DataError: The tensor is not a video of that type, or `every` is below 1.
        StorageError: The file cannot be written.
    """
    if every < 1:
        raise DataError(f"every must be at least 1, got {every}")
    frames_THWC = _frames(video_TCHW)[::every]
    scale = max(round(_STRIP_HEIGHT / frames_THWC.shape[1]), 1)
    frames_THWC = frames_THWC.repeat(scale, axis=1).repeat(scale, axis=2)
    gapped_THWC = np.pad(frames_THWC, ((0, 0), (0, 0), (0, _STRIP_GAP), (0, 0)), constant_values=255)
    strip_HWC = np.concatenate(list(gapped_THWC), axis=1)[:, :-_STRIP_GAP]
    with atomic_write(path) as temporary:
        Image.fromarray(strip_HWC).save(temporary, format="PNG")


def _frames(video_TCHW: torch.Tensor, fps: float = 1.0) -> npt.NDArray[np.uint8]:
    """Frames T x H x W x C of a clip, checked."""
    if video_TCHW.ndim != 4 or video_TCHW.shape[1] != 3 or not video_TCHW.numel() or video_TCHW.dtype != torch.uint8:
        got = f"{tuple(video_TCHW.shape)} of {video_TCHW.dtype}"
        raise DataError(f"expected uint8 frames x 3 x height x width, got {got}")
    if not 0 < fps < float("inf"):
        raise DataError(f"fps must be positive, got {fps}")
    return np.ascontiguousarray(video_TCHW.detach().cpu().permute(0, 2, 3, 1).numpy())
