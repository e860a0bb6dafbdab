from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
import torch

from nas.data import Clip, ClipShape, MovingShapes
from nas.data.clips.dataset import ClipSubset
from nas.data.moving_shapes.dataset import render
from nas.data.moving_shapes.scene import COLOURS, DIRECTIONS, ShapeScene
from nas.errors import DataError

SHAPE = ClipShape(frames=8, height=32, width=32, fps=8)
WIDE = ClipShape(frames=12, height=24, width=48, fps=8)


def chroma(clip: Clip) -> npt.NDArray[np.float64]:
    """Chroma T x H x W of a clean clip: only the shape has any."""
    video = clip.video_TCHW.numpy().astype(float)
    return np.asarray(video.max(axis=1) - video.min(axis=1))


def centroids(clip: Clip) -> npt.NDArray[np.float64]:
    """Centroid of the shape in each frame, as shares (x, y) of the frame; NaN where it is hidden."""
    weight = chroma(clip)
    weight[weight < 8] = 0
    total = weight.sum(axis=(1, 2))
    height, width = weight.shape[1:]
    with np.errstate(invalid="ignore"):
        x = weight.sum(axis=1) @ (np.arange(width) + 0.5) / total / width
        y = weight.sum(axis=2) @ (np.arange(height) + 0.5) / total / height
    return np.stack([x, y], axis=1)


def clips_of(dataset: MovingShapes, behaviour: str) -> list[tuple[ShapeScene, Clip]]:
    return [(scene, dataset[i]) for i, scene in enumerate(dataset.scenes) if scene.behaviour == behaviour]


@pytest.fixture(scope="module", params=[SHAPE, WIDE], ids=["square", "wide"])
def dataset(request: pytest.FixtureRequest) -> MovingShapes:
    return MovingShapes(request.param, clips=300, seed=7)


def test_clips_have_shape_name_and_caption(dataset: MovingShapes) -> None:
    clip = dataset[5]
    assert clip.video_TCHW.shape == dataset.shape.size_TCHW
    assert clip.video_TCHW.dtype == torch.uint8
    assert (clip.name, clip.caption) == (dataset.names[5], dataset.captions[5])
    assert len(set(dataset.names)) == len(dataset) == 300
    assert dataset[-1].name == dataset.names[299]
    with pytest.raises(IndexError):
        dataset[300]


def test_each_clip_depends_on_seed_and_index_alone() -> None:
    small, large, other = MovingShapes(SHAPE, 10, 1), MovingShapes(SHAPE, 50, 1), MovingShapes(SHAPE, 10, 2)
    for index in (9, 0, 4):
        assert small.captions[index] == large.captions[index]
        assert torch.equal(small[index].video_TCHW, large[index].video_TCHW)
    assert not torch.equal(small[0].video_TCHW, other[0].video_TCHW)
    assert small.fingerprint == MovingShapes(SHAPE, 10, 1).fingerprint
    assert len({small.fingerprint, large.fingerprint, other.fingerprint, MovingShapes(WIDE, 10, 1).fingerprint}) == 4


def test_plain_moves_go_a_quarter_frame_along_their_caption(dataset: MovingShapes) -> None:
    for scene, clip in clips_of(dataset, "move"):
        way = centroids(clip) - centroids(clip)[0]
        along = way @ np.array(DIRECTIONS[scene.direction])
        across = way - along[:, None] * DIRECTIONS[scene.direction]
        assert along[-1] >= 0.25
        assert np.all(np.diff(along) > 0)
        assert np.abs(across).max() < 0.04


def test_quick_is_faster_than_slow(dataset: MovingShapes) -> None:
    way = {"slowly": [], "quickly": []}  # type: dict[str, list[float]]
    for scene, clip in clips_of(dataset, "move"):
        way[scene.speed].append(float(np.abs(centroids(clip)[-1] - centroids(clip)[0]).max()))
    assert min(way["quickly"]) > 1.3 * max(way["slowly"])


def test_bounces_turn_late_at_the_wall_and_stop_short_of_the_start(dataset: MovingShapes) -> None:
    for scene, clip in clips_of(dataset, "bounce"):
        along = (centroids(clip) - centroids(clip)[0]) @ np.array(DIRECTIONS[scene.direction])
        turn = int(along.argmax())
        assert 0.6 <= turn / (len(along) - 1) < 1
        assert along[turn] >= 0.25
        assert along[turn] > along[-1] > 0
        assert np.all(np.diff(along[: turn + 1]) > 0)
        assert np.all(np.diff(along[turn:]) < 0)
        touching = np.moveaxis(chroma(clip)[turn], 1, 0) if scene.direction in ("left", "right") else chroma(clip)[turn]
        edge = touching[:2] if scene.direction in ("left", "up") else touching[-2:]
        assert edge.max() > 20


def test_the_bar_hides_the_shape_in_mid_clip_only(dataset: MovingShapes) -> None:
    for scene, clip in clips_of(dataset, "hide"):
        mass = chroma(clip).clip(8).sum(axis=(1, 2)) - 8 * dataset.shape.height * dataset.shape.width
        assert mass.min() < 0.02 * mass.max()
        assert 0 < int(mass.argmin()) < len(mass) - 1
        assert min(mass[0], mass[-1]) > 0.1 * mass.max()
        along = (centroids(clip) - centroids(clip)[0]) @ np.array(DIRECTIONS[scene.direction])
        assert along[-1] >= 0.25


def test_the_bar_stands_still(dataset: MovingShapes) -> None:
    for _, clip in clips_of(dataset, "hide")[:20]:
        grey = clip.video_TCHW.float().amin(dim=1) > 80
        always = grey.all(dim=0).sum()
        assert always > 0.9 * grey.any(dim=0).sum() > 0  # the shape may tint the bar's rim


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_are_pure_on_dark(colour: str) -> None:
    video = render(ShapeScene("square", colour, "right"), SHAPE, np.random.default_rng(0)).float()
    peak = video.amax(dim=(0, 2, 3))
    assert [bool(level > 180) for level in peak] == [bool(lit) for lit in COLOURS[colour]]
    assert video.median() < 40


def test_shapes_stay_inside_and_are_large(dataset: MovingShapes) -> None:
    side = min(dataset.shape.height, dataset.shape.width)
    for _, clip in clips_of(dataset, "move"):
        shown = chroma(clip) > 60
        rows, columns = shown.any(axis=2).sum(axis=1), shown.any(axis=1).sum(axis=1)
        extent = np.maximum(rows, columns) / side
        assert extent.min() >= 0.2
        assert extent.max() <= 0.4
        mass = chroma(clip).sum(axis=(1, 2))
        assert mass.min() > 0.85 * mass.max()


def test_one_frame_gives_images() -> None:
    clip = MovingShapes(ClipShape(1, 32, 32, 1), 4)[3]
    assert clip.video_TCHW.shape == (1, 3, 32, 32)
    assert chroma(clip).max() > 100


def test_drawing_is_quick() -> None:
    dataset = MovingShapes(SHAPE, 400)
    start = time.process_time()
    for index in range(400):
        dataset[index]
    assert (time.process_time() - start) / 400 < 0.003  # about 0.0003 on one core


def test_a_set_needs_clips() -> None:
    with pytest.raises(DataError, match="clips must be at least 1, got 0"):
        MovingShapes(SHAPE, 0)


def test_subset_keeps_clips_and_has_its_own_fingerprint() -> None:
    dataset = MovingShapes(SHAPE, 10)
    subset = ClipSubset(dataset, [7, 2])
    assert [clip.name for clip in subset] == [dataset.names[7], dataset.names[2]]
    assert subset.captions == (dataset.captions[7], dataset.captions[2])
    assert len({dataset.fingerprint, subset.fingerprint, ClipSubset(dataset, [2, 7]).fingerprint}) == 3
    x_BTCHW, captions = subset.batch([1, 0])
    assert torch.equal(x_BTCHW[0], dataset[2].video_TCHW)
    assert captions == (dataset.captions[2], dataset.captions[7])
    with pytest.raises(IndexError):
        ClipSubset(dataset, [10])


@pytest.mark.parametrize("broken", [{"frames": 0}, {"height": -1}, {"width": 0}, {"fps": 0.0}, {"fps": float("nan")}])
def test_impossible_clip_shapes_are_named(broken: dict[str, float]) -> None:
    fields = {"frames": 8, "height": 32, "width": 32, "fps": 8.0} | broken
    with pytest.raises(DataError, match=f"{next(iter(broken))} must be positive"):
        ClipShape(**fields)  # type: ignore[arg-type]
