"""Which captions a run makes clips of, and how their flicker is compared with that of real clips."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from nas.data import Clip, ClipDataset, ClipShape, DataSplit, MovingShapes, VideoFolderConfig, open_data, write_mp4
from nas.models.codecs import SpaceToDepthCodec
from nas.pipeline.samples import MAX_REAL, MAX_ROWS, Shown, flicker_rows, plot_samples, shown_captions
from nas.pipeline.settings import GenerateStage

FRAMES, HEIGHT, WIDTH = 4, 16, 32


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> DataSplit:
    """Ten grey films that blink; number 3 has the caption of number 2."""
    folder = tmp_path_factory.mktemp("films")
    rows = ["file,caption"]
    for number in range(10):
        video_TCHW = torch.full((FRAMES, 3, HEIGHT, WIDTH), 60, dtype=torch.uint8)
        video_TCHW[::2] += 10 * number
        write_mp4(video_TCHW, folder / f"{number}.mp4", 8, crf=1)
        rows.append(f"{number}.mp4,film {2 if number == 3 else number}")
    (folder / "captions.csv").write_text("\n".join(rows))
    config = VideoFolderConfig(kind="videos", path=str(folder))
    shape = ClipShape(FRAMES, HEIGHT, WIDTH, 8)
    return open_data(config, shape, base=folder, cache=folder / "cache", validation_fraction=0.3)


def test_captions_of_both_sides_are_shown_and_labelled(clips: DataSplit) -> None:
    shown = shown_captions(GenerateStage(training_count=3, count=2), clips, SpaceToDepthCodec(4))
    assert [each.kind for each in shown] == ["training"] * 3 + ["held-out"] * 2
    assert len({each.caption for each in shown}) == 5
    for each in shown:
        side = clips.train if each.kind == "training" else clips.validation
        assert each.real_BTCHW is not None
        assert len(each.real_BTCHW) == side.captions.count(each.caption) > 0


def test_more_captions_than_there_are_is_all_of_them(clips: DataSplit) -> None:
    shown = shown_captions(GenerateStage(training_count=99, count=99), clips, SpaceToDepthCodec(4))
    assert [each.caption for each in shown if each.kind == "training"] == list(dict.fromkeys(clips.train.captions))
    assert {each.caption for each in shown if each.kind == "held-out"} == set(clips.validation.captions)


def test_no_training_captions_at_all(clips: DataSplit) -> None:
    shown = shown_captions(GenerateStage(training_count=0, count=1), clips, SpaceToDepthCodec(4))
    assert [each.kind for each in shown] == ["held-out"]


class Alike(ClipDataset):
    """Clips that all have one caption, and notes of which were read."""

    def __init__(self, count: int) -> None:
        names = [f"{number}.mp4" for number in range(count)]
        super().__init__(ClipShape(FRAMES, HEIGHT, WIDTH, 8), names, ["rain"] * count, "alike")
        self.read: list[int] = []

    def __getitem__(self, index: int) -> Clip:
        self.read.append(index)
        return Clip(self.names[index], "rain", torch.zeros(FRAMES, 3, HEIGHT, WIDTH, dtype=torch.uint8))


def test_of_a_caption_that_many_clips_have_a_few_are_looked_at() -> None:
    """Thousands of clips may share a caption: they would not fit into memory together."""
    train, held_out = Alike(1000), Alike(MAX_REAL + 1)
    shown = shown_captions(GenerateStage(), DataSplit(train, held_out), SpaceToDepthCodec(4))
    assert [each.kind for each in shown] == ["training", "held-out"]
    for clips, each in zip((train, held_out), shown, strict=True):
        assert each.real_BTCHW is not None
        assert len(clips.read) == len(each.real_BTCHW) <= MAX_REAL
        assert clips.read[-1] >= len(clips) - len(clips) // len(clips.read) - 1, "they are spread over all"


def test_a_held_out_caption_that_training_has_seen_comes_last() -> None:
    def clips(*captions: str) -> MovingShapes:
        drawn = MovingShapes(ClipShape(FRAMES, HEIGHT, WIDTH, 8), len(captions))
        drawn.captions = captions
        return drawn

    split = DataSplit(clips("a", "b"), clips("b", "c", "a", "d"))
    shown = shown_captions(GenerateStage(training_count=0, count=3), split, SpaceToDepthCodec(4))
    assert [each.caption for each in shown] == ["c", "d", "b"]


def test_given_prompts_take_the_place_of_captions(clips: DataSplit, tmp_path: Path) -> None:
    shown = shown_captions(GenerateStage(prompts=("a fish", "film 1")), clips, SpaceToDepthCodec(4))
    assert shown == [Shown("a fish", "given", None), Shown("film 1", "given", None)]
    (row,) = flicker_rows(shown, torch.zeros(2, FRAMES, 3, HEIGHT, WIDTH, dtype=torch.uint8))
    assert row == {"captions": "given", "clips": 2, "flicker": 0, "real": None, "ratio": None}


def test_flicker_is_compared_within_each_kind() -> None:
    def blinking(*levels: int) -> torch.Tensor:
        video_BTCHW = torch.zeros(len(levels), FRAMES, 3, HEIGHT, WIDTH, dtype=torch.uint8)
        for clip, level in zip(video_BTCHW, levels, strict=True):
            clip[1::2] = level
        return video_BTCHW

    shown = [
        Shown("a", "training", blinking(10, 30)),  # two clips of one caption count as one
        Shown("b", "training", blinking(40)),
        Shown("c", "held-out", blinking(0)),
    ]
    rows = flicker_rows(shown, blinking(51, 102, 51))
    assert [row["captions"] for row in rows] == ["training", "held-out"]
    assert rows[0]["flicker"] == pytest.approx(76.5 / 255)
    assert rows[0]["real"] == pytest.approx(30 / 255)
    assert rows[0]["ratio"] == pytest.approx(76.5 / 30)
    assert (rows[1]["real"], rows[1]["ratio"]) == (0, None)


@pytest.mark.slow
def test_the_sheet_shows_generated_beside_real(tmp_path: Path) -> None:
    red, blue = (torch.zeros(1, FRAMES, 3, HEIGHT, WIDTH, dtype=torch.uint8) for _ in range(2))
    red[:, :, 0], blue[:, :, 2] = 255, 255
    picture = matplotlib.image.imread(plot_samples([Shown("a", "training", blue)], red, tmp_path / "sheet.png"))
    one_row = picture.shape[0]
    half = picture.shape[1] // 2
    for part, channel in ((picture[:, :half], 0), (picture[:, half:], 2)):
        pure = (part[..., channel] > 0.9) & (part[..., :3].sum(-1) < 1.1)
        assert np.mean(pure) > 0.2
    many = [Shown("a", "training", blue)] * 1000
    tall = matplotlib.image.imread(plot_samples(many, red.expand(1000, -1, -1, -1, -1), tmp_path / "many.png"))
    assert one_row < tall.shape[0] < MAX_ROWS * one_row
