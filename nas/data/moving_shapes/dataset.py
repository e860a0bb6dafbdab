"""A procedural set of captioned clips: coloured shapes that move, bounce and pass behind an occluder.

A model that treats frames one by one cannot learn it: direction and speed exist only between frames, a bounce
depends on earlier frames, and a shape that comes out from behind the bar was last seen before it.

Lengths and places are fractions of the frame along their axis, except diameters, which are fractions of its
shorter side. Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from nas.data.clips.dataset import Clip, ClipDataset, ClipShape, checked_index
from nas.data.moving_shapes.scene import COLOURS, DIRECTIONS, SHAPES, SPEEDS, ShapeScene
from nas.errors import DataError
from nas.files import derive_seed, fingerprint

FloatArray = npt.NDArray[np.float32]

_VERSION = 1  # Raise it when the same arguments give other pixels.
_TRAVEL = {"slowly": (0.38, 0.42), "quickly": (0.62, 0.66)}
_DIAMETER = {"move": (0.26, 0.32), "bounce": (0.26, 0.32), "hide": (0.24, 0.26)}
_BEHAVIOUR_DRAWS = ("move", "move", "bounce", "hide")  # Half of the clips are plain.
_BAR_OVER_SHAPE = 1.02  # Hides the whole shape where their centres meet, and only for a short time.
_TURN = 0.7  # A bounce turns after this share of the clip.
# How far each shape reaches from its centroid, in diameters: left, right, up, down.
_REACH = {
    "circle": {"left": 0.5, "right": 0.5, "up": 0.5, "down": 0.5},
    "square": {"left": 0.45, "right": 0.45, "up": 0.45, "down": 0.45},
    "triangle": {"left": 0.52, "right": 0.52, "up": 0.6, "down": 0.3},
}
_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}


@dataclass(frozen=True)
class _Placement:
    """What the caption does not say: places, sizes and brightness of one clip."""

    diameter_px: float
    path_T: FloatArray
    """Centroid along the direction of motion, in pixels."""
    across_px: float
    """Centroid across the direction of motion, in pixels."""
    bar: tuple[float, float] | None
    """Where the occluder begins and ends along the direction of motion, in pixels."""
    background: float
    brightness: float


class MovingShapes(ClipDataset):
    """Captioned clips of one coloured shape in motion, drawn on request.

    Clip i is a function of `shape`, `seed` and i, so a set needs no files and any process draws the same clips. The
    shape first moves in the direction of the caption, and its largest excursion is in that direction and at least a
    quarter of the frame. A bounce turns in the last part of the clip and stops before the starting point.

    Args:
        shape: Frames, size and rate of the clips. Speed is distance per clip and does not depend on the rate.
        clips: Number of clips.
        seed: Another seed gives other clips.

    Raises:
        DataError: `clips` is below 1.
    """

    def __init__(self, shape: ClipShape, clips: int, seed: int = 0) -> None:
        if clips < 1:
            raise DataError(f"moving_shapes: clips must be at least 1, got {clips}")
        self.seed = seed
        self.scenes = _draw_scenes(clips, seed)
        super().__init__(
            shape,
            [f"shape-{index:06d}" for index in range(clips)],
            [scene.caption for scene in self.scenes],
            fingerprint(["moving_shapes", _VERSION, shape.size_TCHW, clips, seed]),
        )

    def __getitem__(self, index: int) -> Clip:
        """Draw the clip at `index`."""
        index = checked_index(index, len(self))
        rng = np.random.default_rng([derive_seed(self.seed, "places"), index])
        return Clip(self.names[index], self.captions[index], render(self.scenes[index], self.shape, rng))


def _draw_scenes(clips: int, seed: int) -> tuple[ShapeScene, ...]:
    """Scenes for a set; a larger set begins with the scenes of a smaller one."""
    parts = (SHAPES, tuple(COLOURS), tuple(DIRECTIONS), SPEEDS, _BEHAVIOUR_DRAWS)
    draws = np.random.default_rng(derive_seed(seed, "scenes")).random((clips, len(parts)))
    picks = (draws * [len(names) for names in parts]).astype(int).tolist()
    return tuple(ShapeScene(*(names[pick] for names, pick in zip(parts, row, strict=True))) for row in picks)


def render(scene: ShapeScene, shape: ClipShape, rng: np.random.Generator) -> torch.Tensor:
    """Draw one clip of `scene`; `rng` decides what its caption does not say.

    Returns:
        `video_TCHW`, uint8 RGB.
    """
    placement = _place(scene, shape, rng)
    horizontal = DIRECTIONS[scene.direction][0] != 0
    along, across = (shape.width, shape.height) if horizontal else (shape.height, shape.width)
    along_TA = _pixel_centres(along)[None] - placement.path_T[:, None]
    across_B = _pixel_centres(across) - placement.across_px
    x, y = (along_TA[:, None, :], across_B[None, :, None]) if horizontal else (across_B, along_TA[:, :, None])
    coverage_THW = np.clip(0.5 - _distance(scene.shape, placement.diameter_px, x, y), 0, 1)
    bar_A = _bar_coverage(along, placement.bar)
    bar_HW = np.broadcast_to(bar_A[None] if horizontal else bar_A[:, None], (shape.height, shape.width))
    return _paint(scene, placement, coverage_THW, bar_HW)


def _paint(scene: ShapeScene, placement: _Placement, coverage_THW: FloatArray, bar_HW: FloatArray) -> torch.Tensor:
    """Blend background, shape and bar, in that order."""
    lit = np.array(COLOURS[scene.colour], dtype=np.float32)
    background = np.float32(placement.background)
    colour_C = placement.brightness * (40 + 200 * lit)
    behind_THW = coverage_THW * (1 - bar_HW)
    # A lit channel has one of two values, so two planes make all three channels.
    plain_HW = background * (1 - bar_HW) + 105 * placement.brightness * bar_HW
    video_TCHW = np.empty((len(behind_THW), 3, *bar_HW.shape), dtype=np.uint8)
    for level in {float(value) for value in colour_C}:
        plane_THW = (plain_HW + (level - background) * behind_THW + np.float32(0.5)).astype(np.uint8)
        for channel in np.flatnonzero(colour_C == np.float32(level)):
            video_TCHW[:, channel] = plane_THW
    return torch.from_numpy(video_TCHW)


def _place(scene: ShapeScene, shape: ClipShape, rng: np.random.Generator) -> _Placement:
    """Choose sizes and places so that the shape stays inside the frame."""
    horizontal = DIRECTIONS[scene.direction][0] != 0
    along, across = (shape.width, shape.height) if horizontal else (shape.height, shape.width)
    diameter_px = rng.uniform(*_DIAMETER[scene.behaviour]) * min(along, across)
    reach = {side: share * diameter_px for side, share in _REACH[scene.shape].items()}
    low, high = ("left", "right") if horizontal else ("up", "down")
    travel_px = rng.uniform(*_TRAVEL[scene.speed]) * along
    steps_T = _progress(shape.frames, scene.behaviour) * travel_px
    forward = scene.direction in ("right", "down")
    lead, trail = reach[scene.direction], reach[_OPPOSITE[scene.direction]]
    room_px = max(along - lead - trail - float(steps_T.max()), 0.0)
    gap_px = room_px if scene.behaviour == "bounce" else room_px * rng.random()
    way_T = trail + gap_px + steps_T
    path_T = way_T if forward else along - way_T
    side_low, side_high = ("up", "down") if horizontal else ("left", "right")
    across_px = rng.uniform(reach[side_low], across - reach[side_high])
    bar = _bar(path_T, reach[low], reach[high]) if scene.behaviour == "hide" else None
    background, brightness = rng.uniform(10, 34), rng.uniform(0.86, 1.0)
    return _Placement(diameter_px, path_T.astype(np.float32), across_px, bar, background, brightness)


def _progress(frames: int, behaviour: str) -> npt.NDArray[np.float64]:
    """Distance covered by each frame, as a share of the whole distance at constant speed."""
    share_T = np.arange(frames) / max(frames - 1, 1)
    if behaviour != "bounce" or frames < 4:
        return share_T
    turn = min(math.ceil(_TURN * (frames - 1)), frames - 2) / (frames - 1)
    return turn - np.abs(share_T - turn)


def _bar(path_T: npt.NDArray[np.float64], reach_low: float, reach_high: float) -> tuple[float, float]:
    """Put the occluder over the shape in the middle frame, so that at least one frame hides it."""
    middle = float(path_T[len(path_T) // 2]) + (reach_high - reach_low) / 2
    half = _BAR_OVER_SHAPE * (reach_low + reach_high) / 2 + 0.5  # the half pixel that drawing may add
    return middle - half, middle + half


def _bar_coverage(along: int, bar: tuple[float, float] | None) -> FloatArray:
    """Share of each pixel along the motion that the bar covers."""
    if bar is None:
        return np.zeros(along, dtype=np.float32)
    edges = np.arange(along, dtype=np.float32)
    return cast(FloatArray, np.clip(np.minimum(edges + 1, bar[1]) - np.maximum(edges, bar[0]), 0, 1).astype(np.float32))


def _pixel_centres(count: int) -> FloatArray:
    return np.arange(count, dtype=np.float32) + np.float32(0.5)


def _distance(shape: str, diameter: float, x: FloatArray, y: FloatArray) -> FloatArray:
    """Signed distance in pixels to the outline, negative inside; exact along the sides."""
    size = np.float32(diameter)
    if shape == "circle":
        return cast(FloatArray, np.sqrt(x * x + y * y) - size / 2)
    if shape == "square":
        return cast(FloatArray, np.maximum(np.abs(x), np.abs(y)) - np.float32(0.45) * size)
    slope = np.float32(math.sqrt(3) / 2)
    return cast(FloatArray, np.maximum(y, slope * np.abs(x) - y / 2) - np.float32(0.3) * size)
