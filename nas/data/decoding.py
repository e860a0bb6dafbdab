"""Decoding videos and images into clips of one shape: in time by nearest frame, in space by crop and resize.

Shape suffixes: N frames of the whole video, T frames of a clip, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from nas.data.captioned import GridSize
from nas.data.clips import ClipShape
from nas.errors import DataError

_LOST_SHARE = 0.1  # A file that ends this much earlier than it says is truncated.


@dataclass(frozen=True)
class Media:
    """A video or an image, wherever its bytes are.

    Args:
        where: What it is called in messages.
        source: Its path, or its bytes.
        is_image: Whether it is read as one frame.
    """

    where: Path
    source: Path | bytes
    is_image: bool = False

    @classmethod
    def file(cls, path: Path) -> Media:
        """A video file."""
        return cls(path, path)

    def open(self) -> str | io.BytesIO:
        """What libraries read it from."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else str(self.source)


def decode_clips(media: Media | Path, shape: ClipShape) -> list[torch.Tensor]:
    """All whole clips of a video or an image, one after the other, without overlap.

    Frame k of the video at `shape.fps` is the source frame nearest to k / fps seconds after the first. It
    is turned as the file says, cropped about its centre to the aspect of `shape`, and resized with
    antialiasing. An image is a video of one frame.

    Args:
        media: In any format that FFmpeg reads, or the path of such a file; an image in one that Pillow does.
        shape: Shape and rate of the clips.

    Returns:
        Tensors `video_TCHW`, uint8; none when the video is shorter than one clip.

    Raises:
        DataError: It is no video or image, or is damaged or truncated.
    """
    media = Media.file(media) if isinstance(media, Path) else media
    if media.is_image:
        frames_NCHW = [_fitted(_image(media), 1.0, shape)]
    else:
        frames_NCHW = [_fitted(*_upright(frame, ratio), shape) for frame, ratio in _resampled(media, shape.fps)]
    count = len(frames_NCHW) // shape.frames
    return [torch.stack(frames_NCHW[i * shape.frames : (i + 1) * shape.frames]) for i in range(count)]


def measure(media: Media, fps: float) -> GridSize:
    """How many frames a video or an image has at a rate, and how large they are shown; raises as `decode_clips`.

    Every frame is decoded, since only that tells whether it can be.
    """
    if media.is_image:
        height, width = _image(media).shape[:2]
        return GridSize(1, height, width)
    frames, height, width = 0, 0, 0
    for frame, ratio in _resampled(media, fps):
        if not frames:
            turned = round(frame.rotation / 90) % 2
            height, width = frame.height, max(round(frame.width * ratio), 1)
            height, width = (width, height) if turned else (height, width)
        frames += 1
    return GridSize(frames, height, width)


def _image(media: Media) -> npt.NDArray[np.uint8]:
    """The pixels `rgb_HWC` of an image, turned as its file says; transparency is dropped."""
    try:
        with Image.open(media.open()) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise DataError(f"cannot be decoded: {problem}", where=media.where) from problem


def _resampled(media: Media, fps: float) -> Iterator[tuple[av.VideoFrame, float]]:
    """Source frames nearest to 0, 1 / fps, 2 / fps ... seconds, each with the aspect ratio of its pixels."""
    previous: av.VideoFrame | None = None
    last_s, frame_s, wanted = 0.0, 0.0, 0
    ratio = 1.0
    for frame, time_s, ratio in _decoded(media):
        while previous is not None and wanted / fps < time_s:
            yield (previous if wanted / fps - last_s <= time_s - wanted / fps else frame), ratio
            wanted += 1
        frame_s = time_s - last_s if previous is not None else frame_s
        previous, last_s = frame, time_s
    # The last frame stands for as long as the one before it did.
    while previous is not None and wanted / fps < last_s + max(frame_s, 1e-3) - 1e-6:
        yield previous, ratio
        wanted += 1


def _decoded(media: Media) -> Iterator[tuple[av.VideoFrame, float, float]]:
    """Frames in order of presentation, seconds since the first, and width over height of their pixels."""
    try:
        with av.open(media.open(), "r", metadata_errors="ignore") as container:
            if not container.streams.video:
                raise DataError("holds no video stream", where=media.where)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield from _timed(container, stream, media.where)
    except (av.FFmpegError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        raise DataError(f"cannot be decoded: {reason}", where=media.where) from problem


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


def _upright(frame: av.VideoFrame, pixel_ratio: float) -> tuple[npt.NDArray[np.uint8], float]:
    """The pixels `rgb_HWC` of a frame, turned as the file says, and width over height of one."""
    rgb_HWC = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    quarters = round(frame.rotation / 90) % 4
    if not quarters:
        return rgb_HWC, pixel_ratio
    return np.rot90(rgb_HWC, quarters), 1 / pixel_ratio if quarters % 2 else pixel_ratio


def _fitted(rgb_HWC: npt.NDArray[np.uint8], pixel_ratio: float, shape: ClipShape) -> torch.Tensor:
    """Crop and resize one frame to `rgb_CHW`, uint8."""
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
