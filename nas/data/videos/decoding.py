"""Decoding videos and images into clips of one shape: in time by nearest frame, in space by crop and resize.

Clips are decoded one after the other. A video of any length needs the memory of one clip.

Shape suffixes: T frames of a clip, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import av
import numpy as np
import torch
import torch.nn.functional as F

from nas.data.clips.captioned import GridSize
from nas.data.clips.dataset import ClipShape
from nas.data.videos.film import Film, open_film
from nas.data.videos.media import Media
from nas.data.videos.pictures import Pixels, frame_pixels, read_image, turning
from nas.errors import DataError
from nas.processors import processors

_LONGEST_STILL_S = 3600.0


def iter_clips(media: Media, shape: ClipShape) -> Iterator[torch.Tensor]:
    """All whole clips of a video or an image, one after the other, without overlap.

    Frame k of the video at `shape.fps` is the source frame nearest to k / fps seconds after the first. The last source
    frame lasts as long as the file says. A frame is rotated as the file says, cropped about its centre to the aspect
    ratio of `shape`, and resized with antialiasing. An image is a video of one frame.

    Args:
        media: A video in any format that FFmpeg reads, or an image in one that Pillow does.
        shape: Shape and rate of the clips.

    Yields:
        Tensors `video_TCHW`, uint8; none if the video is shorter than one clip.

    Raises:
        DataError: It is not a video or image, or is damaged or truncated. This may be raised after the last clip.
    """
    if media.is_image:
        return _joined(iter([_fitted(read_image(media), 1.0, shape)]), shape)
    return _joined(_film_frames(media, shape, 0), shape)


def iter_clips_from(media: Media, shape: ClipShape, first: int, count: int) -> Iterator[torch.Tensor]:
    """The clips of `iter_clips` from one of them on, decoded from the key frame before it.

    Args:
        media: The video or image.
        shape: Shape and rate of the clips.
        first: The first clip that is wanted, counted from 0.
        count: Total number of clips.
    """
    if media.is_image or not first:
        yield from iter_clips(media, shape)
        return
    for video_TCHW in _joined(_film_frames(media, shape, first * shape.frames), shape):
        yield video_TCHW
        first += 1
    if first < count:  # No key frame to start from, or the end is known only after reading everything before it.
        yield from itertools.islice(iter_clips(media, shape), first, None)


def measure(media: Media, fps: float, threads: int | None = None) -> GridSize:
    """Number and displayed size of the frames of a video or an image at a rate; raises as `iter_clips`.

    Every frame is decoded, because nothing else shows that it can be.

    Args:
        media: The video or image.
        fps: Frames per second.
        threads: Threads of the decoder; see `open_film`.
    """
    if media.is_image:
        height, width = read_image(media).shape[:2]
        return GridSize(1, height, width)
    frames, height, width = 0, 0, 0
    with open_film(media, threads) as film:
        for frame in _at_rate(film, media, fps, 0):
            if not frames:
                height, width = _shown_size(frame, film.pixel_ratio)
            frames += 1
    return GridSize(frames, height, width)


def _shown_size(frame: av.VideoFrame, pixel_ratio: float) -> tuple[int, int]:
    frame_pixels(frame)  # raises if its format cannot be read
    height, width = frame.height, max(round(frame.width * pixel_ratio), 1)
    swapped, *_ = turning(frame)
    return (width, height) if swapped else (height, width)


def _joined(frames: Iterator[torch.Tensor], shape: ClipShape) -> Iterator[torch.Tensor]:
    while len(clip := list(itertools.islice(frames, shape.frames))) == shape.frames:
        yield torch.stack(clip)


def _film_frames(media: Media, shape: ClipShape, first: int) -> Iterator[torch.Tensor]:
    """Frames `rgb_CHW` at the rate of the clips, from one of them on; none if it cannot be reached."""
    source: av.VideoFrame | None = None
    fitted_CHW = torch.empty(0)
    # A worker has one thread for all it does: with more, the workers of a machine would keep each other waiting.
    with open_film(media, min(torch.get_num_threads(), processors())) as film:
        if first and not film.seek(first / shape.fps):
            return
        for frame in _at_rate(film, media, shape.fps, first):
            if frame is not source:  # A repeated frame is not converted again.
                swapped, *_ = turning(frame)
                ratio = 1 / film.pixel_ratio if swapped else film.pixel_ratio
                source, fitted_CHW = frame, _fitted(frame_pixels(frame), ratio, shape)
            yield fitted_CHW


def _at_rate(film: Film, media: Media, fps: float, wanted: int) -> Iterator[av.VideoFrame]:
    """The source frame nearest to each of the times wanted / fps, (wanted + 1) / fps ..."""
    previous: av.VideoFrame | None = None
    last_s = 0.0
    for frame, time_s in film.frames():
        _check_still(time_s - last_s if previous is not None else 0.0, media)
        while previous is not None and wanted / fps < time_s:
            yield previous if wanted / fps - last_s <= time_s - wanted / fps else frame
            wanted += 1
        previous, last_s = frame, time_s
    end_s = film.end_s()
    _check_still(end_s - last_s, media)
    while previous is not None and wanted / fps < end_s - 1e-6:
        yield previous
        wanted += 1


def _check_still(still_s: float, media: Media) -> None:
    if still_s > _LONGEST_STILL_S:
        what = f"cannot be decoded: one frame claims to last {still_s:.0f} s"
        raise DataError(what, where=media.where, hint="its time stamps are damaged; encode it again")


def _fitted(rgb_HWC: Pixels, pixel_ratio: float, shape: ClipShape) -> torch.Tensor:
    """Crop and resize one frame to `rgb_CHW`, uint8."""
    rgb_HWC = _cropped(rgb_HWC, shape.width / shape.height / pixel_ratio)
    rgb_1CHW = torch.from_numpy(np.ascontiguousarray(rgb_HWC)).permute(2, 0, 1)[None]
    if rgb_1CHW.shape[-2:] == (shape.height, shape.width):
        return rgb_1CHW[0].contiguous()
    size = (shape.height, shape.width)
    return F.interpolate(rgb_1CHW, size=size, mode="bilinear", antialias=True)[0].contiguous()


def _cropped(rgb_HWC: Pixels, aspect: float) -> Pixels:
    """The largest box of width / height `aspect`, in pixels, about the centre."""
    height, width = rgb_HWC.shape[:2]
    box_height = min(height, max(round(width / aspect), 1))
    box_width = min(width, max(round(height * aspect), 1))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return rgb_HWC[top : top + box_height, left : left + box_width]
