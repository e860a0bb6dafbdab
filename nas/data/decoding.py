"""Decoding a video file into clips of one shape: in time by nearest frame, in space by crop and resize.

Shape suffixes: N frames of the whole video, T frames of a clip, C channels (RGB), H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nas.data.clips import ClipShape
from nas.errors import DataError

_LOST_SHARE = 0.1  # A file that ends this much earlier than it says is truncated.


def decode_clips(path: Path, shape: ClipShape) -> list[torch.Tensor]:
    """All whole clips of a video, one after the other, without overlap.

    Frame k of the video at `shape.fps` is the source frame nearest to k / fps seconds after the first. It
    is turned as the file says, cropped about its centre to the aspect of `shape`, and resized with
    antialiasing.

    Args:
        path: A file in any format that FFmpeg reads.
        shape: Shape and rate of the clips.

    Returns:
        Tensors `video_TCHW`, uint8; none when the video is shorter than one clip.

    Raises:
        DataError: The file is no video, or is damaged or truncated.
    """
    frames_NCHW = [_fitted(frame, ratio, shape) for frame, ratio in _resampled(path, shape.fps)]
    count = len(frames_NCHW) // shape.frames
    return [torch.stack(frames_NCHW[i * shape.frames : (i + 1) * shape.frames]) for i in range(count)]


def _resampled(path: Path, fps: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """Source frames nearest to 0, 1 / fps, 2 / fps ... seconds, each with the aspect ratio of its pixels."""
    previous: av.VideoFrame | None = None
    last_s, frame_s, wanted = 0.0, 0.0, 0
    ratio = 1.0
    for frame, time_s, ratio in _decoded(path):
        while previous is not None and wanted / fps < time_s:
            yield (previous if wanted / fps - last_s <= time_s - wanted / fps else frame), ratio
            wanted += 1
        frame_s = time_s - last_s if previous is not None else frame_s
        previous, last_s = frame, time_s
    # The last frame stands for as long as the one before it did.
    while previous is not None and wanted / fps < last_s + max(frame_s, 1e-3) - 1e-6:
        yield previous, ratio
        wanted += 1


def _decoded(path: Path) -> Iterator[tuple[av.VideoFrame, float, float]]:
    """Frames in order of presentation, seconds since the first, and width over height of their pixels."""
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                raise DataError("holds no video stream", where=path)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield from _timed(container, stream, path)
    except (av.FFmpegError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise DataError(f"cannot be decoded: {reason}", where=path) from problem


def _timed(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path
) -> Iterator[tuple[av.VideoFrame, float, float]]:
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    first_s: float | None = None
    time_s = 0.0
    for number, frame in enumerate(container.decode(stream)):
        if frame.pts is None and not rate:
            raise DataError("cannot be decoded: frames without time", where=path)
        stamp_s = number / rate if frame.pts is None else frame.time
        first_s = stamp_s if first_s is None else first_s
        time_s = max(stamp_s - first_s, time_s)
        yield frame, time_s, float(stream.sample_aspect_ratio or 1)
    if first_s is None:
        raise DataError("cannot be decoded: holds no frame", where=path)
    promised_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    if time_s + (1 / rate if rate else 0) < (1 - _LOST_SHARE) * promised_s:
        raise DataError(f"truncated: ends after {time_s:.1f} s of {promised_s:.1f} s", where=path)


def _fitted(frame: av.VideoFrame, pixel_ratio: float, shape: ClipShape) -> torch.Tensor:
    """Turn, crop and resize one frame to `rgb_CHW`, uint8."""
    rgb_HWC = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    quarters = round(frame.rotation / 90) % 4
    if quarters:
        rgb_HWC = np.rot90(rgb_HWC, quarters)
        pixel_ratio = 1 / pixel_ratio if quarters % 2 else pixel_ratio
    rgb_HWC = _cropped(rgb_HWC, shape.width / shape.height / pixel_ratio)
    rgb_1CHW = torch.from_numpy(np.ascontiguousarray(rgb_HWC)).permute(2, 0, 1)[None]
    if rgb_1CHW.shape[-2:] == (shape.height, shape.width):
        return rgb_1CHW[0].contiguous()
    size = (shape.height, shape.width)
    return F.interpolate(rgb_1CHW, size=size, mode="bilinear", antialias=True)[0].contiguous()


def _cropped(rgb_HWC: npt.NDArray[np.uint8], aspect: float) -> npt.NDArray[np.uint8]:
    """The largest box of width / height `aspect`, in pixels, about the centre."""
    height, width = rgb_HWC.shape[:2]
    box_height = min(height, max(round(width / aspect), 1))
    box_width = min(width, max(round(height * aspect), 1))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return rgb_HWC[top : top + box_height, left : left + box_width]
