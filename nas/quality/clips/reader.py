"""A reader that finds colour and direction of motion in the pixels of a moving-shapes clip by fixed rules.

The reader does not know how clips are drawn. It weighs pixels by chroma (saturation times value), which the grey
background, the grey bar and blur do not have, and follows the centroid of the weights.

Shape suffixes: B clips, T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nas.data import parse_caption
from nas.data.moving_shapes.scene import DIRECTIONS
from nas.errors import DataError

FloatArray = npt.NDArray[np.float32]

_SEEN_CHROMA = 0.2  # Below this peak, a clip shows nothing coloured.
_PEAK_SHARE = 0.4  # Pixels below this share of the clip's peak chroma count as background.
_SEEN_MASS = 0.08  # A frame with less than this share of the largest frame's colour shows no shape.
_SEEN_WAY = 0.06  # Excursions below this share of the frame are no motion.
_HUES = ("red", "yellow", "green", "cyan", "blue", "purple")  # 60 degrees apart, from 0.


@dataclass(frozen=True)
class Reading:
    """What a clip shows.

    Args:
        colour: Name of the colour; `None` if nothing coloured is seen.
        direction: Name of the direction; `None` if nothing coloured moves.
    """

    colour: str | None
    direction: str | None


@dataclass(frozen=True)
class PromptAccuracy:
    """Share of clips that follow their prompt, from 0 to 1.

    Args:
        colour: Share with the right colour.
        direction: Share with the right direction.
        both: Share with both right.
        n: Number of clips.
    """

    colour: float
    direction: float
    both: float
    n: int


def prompt_accuracy(videos: Iterable[torch.Tensor], prompts: Sequence[str]) -> PromptAccuracy:
    """Read every clip and compare with its prompt.

    Args:
        videos: Clips `video_TCHW` as `read_clip` takes them, or one tensor `x_BTCHW`.
        prompts: One moving-shapes sentence per clip.

    Raises:
        DataError: A prompt is not a moving-shapes sentence, or there is not one clip per prompt.
    """
    scenes = [parse_caption(prompt) for prompt in prompts]
    readings = [read_clip(video_TCHW) for video_TCHW in videos]
    if len(readings) != len(scenes) or not scenes:
        raise DataError(f"{len(readings)} clips for {len(scenes)} prompts; expected one clip for each of 1 or more")
    pairs = list(zip(readings, scenes, strict=True))
    right = np.array([(seen.colour == meant.colour, seen.direction == meant.direction) for seen, meant in pairs])
    colour, direction = right.mean(axis=0).tolist()
    return PromptAccuracy(colour, direction, float(right.all(axis=1).mean()), len(scenes))


def read_clip(video_TCHW: torch.Tensor) -> Reading:
    """Read the shape's colour and its direction of motion off a clip.

    The colour is the one of the six whose hue is nearest to most of the coloured pixels. The direction is the axis and
    sign of the largest excursion of their centroid from its first position.

    Args:
        video_TCHW: RGB frames, uint8, or floating point from -1 to 1.

    Raises:
        DataError: The tensor is not a video of RGB frames.
    """
    rgb_THWC = _smooth(_unit_range(video_TCHW))
    chroma_THW = rgb_THWC.max(axis=-1) - rgb_THWC.min(axis=-1)
    peak = float(np.quantile(chroma_THW, 0.995))
    if peak < _SEEN_CHROMA:
        return Reading(None, None)
    weight_THW = np.maximum(chroma_THW - _PEAK_SHARE * peak, 0)
    nearest_THW = np.round(_hue(rgb_THWC, chroma_THW) / 60).astype(np.int64) % 6
    votes = np.bincount(nearest_THW.ravel(), weights=weight_THW.ravel(), minlength=6)
    winner = int(votes.argmax())
    colour = _HUES[winner]
    apart_THW = np.abs((nearest_THW - winner + 3) % 6 - 3)
    return Reading(colour, _direction(np.where(apart_THW <= 1, weight_THW, 0)))


def _unit_range(video_TCHW: torch.Tensor) -> torch.Tensor:
    """The same video as floats from 0 to 1."""
    if video_TCHW.ndim != 4 or video_TCHW.shape[1] != 3:
        raise DataError(f"expected frames x 3 x height x width, got {tuple(video_TCHW.shape)}")
    video_TCHW = video_TCHW.detach().cpu()
    if video_TCHW.dtype == torch.uint8:
        return video_TCHW.float() / 255
    if not video_TCHW.is_floating_point():
        raise DataError(f"expected uint8 or floating point frames, got {video_TCHW.dtype}")
    return ((video_TCHW.float() + 1) / 2).nan_to_num(0.0).clamp(0, 1)


def _smooth(video_TCHW: torch.Tensor) -> FloatArray:
    """Average over about a tenth of the frame, which removes the chroma of noise and keeps that of shapes."""
    radius = max(round(min(video_TCHW.shape[-2:]) / 24), 1)
    smooth_TCHW = F.avg_pool2d(video_TCHW, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    rgb_THWC: FloatArray = smooth_TCHW.permute(0, 2, 3, 1).numpy()
    return rgb_THWC


def _hue(rgb_THWC: FloatArray, chroma_THW: FloatArray) -> FloatArray:
    """Hue in degrees from 0 to 360, as in the HSV model."""
    red, green, blue = np.moveaxis(rgb_THWC, -1, 0)
    safe = np.maximum(chroma_THW, np.float32(1e-6))
    top = rgb_THWC.argmax(axis=-1)
    hue = np.choose(top, [(green - blue) / safe % 6, (blue - red) / safe + 2, (red - green) / safe + 4])
    return np.asarray(60 * hue, dtype=np.float32)


def _direction(weight_THW: FloatArray) -> str | None:
    """Axis and sign of the largest excursion of the weighted centroid, in shares of the frame."""
    mass_T = weight_THW.sum(axis=(1, 2))
    seen = np.flatnonzero(mass_T > _SEEN_MASS * mass_T.max())
    if len(seen) < 2:
        return None
    weight_THW, mass_T = weight_THW[seen], mass_T[seen]
    height, width = weight_THW.shape[1:]
    x_T = weight_THW.sum(axis=1) @ np.arange(width) / mass_T / width
    y_T = weight_THW.sum(axis=2) @ np.arange(height) / mass_T / height
    way_TA = np.stack([x_T - x_T[0], y_T - y_T[0]], axis=1)
    frame, axis = np.unravel_index(int(np.abs(way_TA).argmax()), way_TA.shape)
    if abs(way_TA[frame, axis]) < _SEEN_WAY:
        return None
    step = (0, int(np.sign(way_TA[frame, axis]))) if axis else (int(np.sign(way_TA[frame, axis])), 0)
    return next(name for name, known in DIRECTIONS.items() if known == step)
