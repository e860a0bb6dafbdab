from __future__ import annotations

from dataclasses import astuple

import pytest
import torch
import torch.nn.functional as F

from nas.data import ClipShape, MovingShapes, parse_caption, prompts
from nas.data.moving_shapes.scene import ShapeScene
from nas.errors import DataError
from nas.quality.clips.reader import Reading, prompt_accuracy, read_clip

SHAPES = [ClipShape(8, 32, 32, 8), ClipShape(8, 24, 40, 8), ClipShape(12, 48, 48, 8)]


def blurred(video_TCHW: torch.Tensor) -> torch.Tensor:
    """From -1 to 1, averaged over 3 x 3 pixels."""
    return F.avg_pool2d(video_TCHW.float() / 127.5 - 1, 3, stride=1, padding=1, count_include_pad=False)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_clean_clips_are_read_right(shape: ClipShape) -> None:
    dataset = MovingShapes(shape, 150, seed=11)
    accuracy = prompt_accuracy([clip.video_TCHW for clip in dataset], dataset.captions)
    assert accuracy.n == 150
    assert min(accuracy.colour, accuracy.direction, accuracy.both) >= 0.99


@pytest.mark.parametrize("noise", [0.1, 0.2])
def test_blurred_and_noisy_clips_are_read_right(noise: float) -> None:
    dataset = MovingShapes(SHAPES[0], 150, seed=12)
    generator = torch.Generator().manual_seed(0)
    x_BTCHW = torch.stack([blurred(clip.video_TCHW) for clip in dataset])
    x_BTCHW += noise * torch.randn(x_BTCHW.shape, generator=generator)
    accuracy = prompt_accuracy(x_BTCHW.clamp(-1, 1), dataset.captions)
    assert min(accuracy.colour, accuracy.direction, accuracy.both) >= 0.99


def test_all_number_types_read_alike() -> None:
    video_TCHW = MovingShapes(SHAPES[0], 1)[0].video_TCHW
    as_float = video_TCHW.double() / 127.5 - 1
    assert read_clip(video_TCHW) == read_clip(as_float) == read_clip(as_float.half())


def test_played_backwards_a_clip_moves_the_other_way() -> None:
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    dataset = MovingShapes(SHAPES[0], 60, seed=1)
    for index, scene in enumerate(dataset.scenes):
        if scene.behaviour == "move":
            reading = read_clip(dataset[index].video_TCHW.flip(0))
            assert reading == Reading(scene.colour, opposite[scene.direction])


def test_stills_have_a_colour_and_no_direction() -> None:
    dataset = MovingShapes(SHAPES[0], 1)
    still = dataset[0].video_TCHW[:1]
    colour = parse_caption(dataset.captions[0]).colour
    assert read_clip(still.repeat(8, 1, 1, 1)) == Reading(colour, None)
    assert read_clip(still) == Reading(colour, None)


@pytest.mark.parametrize("level", [0, 90, 255])
def test_grey_shows_nothing(level: int) -> None:
    assert read_clip(torch.full((8, 3, 32, 32), level, dtype=torch.uint8)) == Reading(None, None)


def test_noise_and_nan_show_no_direction_of_their_own() -> None:
    noise = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)).mul(0.15).clamp(-1, 1)
    assert read_clip(noise) == Reading(None, None)
    assert read_clip(torch.full((8, 3, 32, 32), float("nan"))) == Reading(None, None)


def test_accuracy_counts_colour_and_direction_apart() -> None:
    dataset = MovingShapes(SHAPES[0], 40, seed=5)
    scenes = [(index, scene) for index, scene in enumerate(dataset.scenes) if scene.behaviour == "move"][:4]
    videos = [dataset[index].video_TCHW for index, _ in scenes]
    meant = [scene for _, scene in scenes]
    wrong_colour = "red" if meant[1].colour != "red" else "blue"
    wrong_way = "left" if meant[2].direction != "left" else "up"
    asked = [
        meant[0].caption,
        ShapeScene(meant[1].shape, wrong_colour, meant[1].direction).caption,
        ShapeScene(meant[2].shape, meant[2].colour, wrong_way).caption,
        meant[3].caption,
    ]
    assert astuple(prompt_accuracy(videos, asked)) == (0.75, 0.75, 0.5, 4)


def test_bad_input_is_named() -> None:
    video_TCHW = MovingShapes(SHAPES[0], 1)[0].video_TCHW
    with pytest.raises(DataError, match="1 clips for 2 prompts"):
        prompt_accuracy([video_TCHW], prompts(2))
    with pytest.raises(DataError, match="a rabbit"):
        prompt_accuracy([video_TCHW], ["a rabbit"])
    with pytest.raises(DataError, match=r"frames x 3 x height x width, got \(8, 32, 32\)"):
        read_clip(video_TCHW[:, 0])
    with pytest.raises(DataError, match=r"torch\.int64"):
        read_clip(video_TCHW.long())
