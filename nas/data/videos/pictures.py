"""Images and frames as upright RGB of 8 bits, from any rotation, depth or transparency.

Shape suffixes: C channels (RGB), H height, W width.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.video.format import VideoFormat
from PIL import Image, ImageOps

from nas.data.videos.high_range import high_range_pixels, is_high_range
from nas.data.videos.media import Media
from nas.errors import DataError

Pixels = npt.NDArray[np.uint8]

_SQUARE_TO_WITHIN = math.radians(1)
_DEEPEST = 2**16 - 1
_DAMAGES = (ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError,
            ValueError, struct.error, Image.DecompressionBombError)  # fmt: skip
"""What Pillow raises for files that are damaged or not images."""


def read_image(media: Media) -> Pixels:
    """The pixels `rgb_HWC` of an image, rotated as its file says, on a white background.

    Raises:
        DataError: It is not an image, is damaged, or has pixels of unknown range.
    """
    with media.open() as file:
        try:
            with Image.open(file) as image:
                return _rgb(ImageOps.exif_transpose(image), image.format or "")
        except _DAMAGES as problem:
            raise DataError(
                f"cannot be decoded: {str(problem) or type(problem).__name__}", where=media.where
            ) from problem


def _rgb(image: Image.Image, kind: str) -> Pixels:
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in {"PNG", "PPM"}):
        grey_HW = np.asarray(image).astype(np.int64)
        eight_HW = (grey_HW.clip(0, _DEEPEST) * 255 + _DEEPEST // 2) // _DEEPEST
        return np.repeat(eight_HW.astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise ValueError(f"its {kind} pixels are 32-bit numbers of unknown range; store 8 or 16 bits per channel")
    if image.has_transparency_data:
        return on_white(np.asarray(image.convert("RGBA"), dtype=np.uint8))
    return np.array(image.convert("RGB"), dtype=np.uint8)


def frame_pixels(frame: av.VideoFrame) -> Pixels:
    """The pixels `rgb_HWC` of a frame, rotated as its file says, on a white background.

    Raises:
        ValueError: The rotation is not a multiple of a quarter turn, or the format is unknown.
    """
    swapped, upside_down, mirrored = turning(frame)
    rgb_HWC = _frame_rgb(frame)
    rgb_HWC = rgb_HWC.transpose(1, 0, 2) if swapped else rgb_HWC
    return rgb_HWC[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def _frame_rgb(frame: av.VideoFrame) -> Pixels:
    if is_high_range(frame):
        return high_range_pixels(frame)
    # By default, FFmpeg starts a thread for each processor and each frame.
    shown = frame.reformat(format="rgba" if _has_alpha(frame.format.name) else "rgb24", threads=1)
    rgb_HWC = np.asarray(shown.to_ndarray(), dtype=np.uint8)
    return on_white(rgb_HWC) if rgb_HWC.shape[2] == 4 else rgb_HWC


def turning(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """How a frame is made upright: whether to swap rows and columns, then to flip vertically, then horizontally.

    Raises:
        ValueError: The rotation is not a multiple of a quarter turn.
    """
    matrix = cast(Buffer | None, frame.side_data.get("DISPLAYMATRIX"))
    if matrix is None:
        return False, False, False
    # A pixel at column p and row q is shown at column a p + c q and row b p + d q.
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    swapped = abs(b) > abs(a)
    angle = math.atan2(*sorted((abs(a), abs(b)))) + math.atan2(*sorted((abs(c), abs(d))))
    if angle > _SQUARE_TO_WITHIN:
        raise ValueError(f"it is rotated by {math.degrees(math.atan2(b, a)):.0f} degrees, not a multiple of 90")
    return (True, b < 0, c < 0) if swapped else (False, d < 0, a < 0)


def on_white(rgba_HWC: Pixels) -> Pixels:
    """Pixels `rgb_HWC` on a white background, of an image whose last channel is opacity."""
    alpha_HW1 = rgba_HWC[..., 3:].astype(np.uint16)
    if (alpha_HW1 == 255).all():
        return np.ascontiguousarray(rgba_HWC[..., :3])
    laid_HWC = rgba_HWC[..., :3] * alpha_HW1 + 255 * (255 - alpha_HW1)
    return ((laid_HWC + 127) // 255).astype(np.uint8)


@functools.lru_cache
def _has_alpha(name: str) -> bool:
    layout = VideoFormat(name)
    return layout.has_palette or any(component.is_alpha for component in layout.components)
