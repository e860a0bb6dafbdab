"""Ways to sample side by side, as files and as a figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from nas.data.clips.pixels import to_bytes
from nas.errors import ConfigError
from nas.models import Generation, VideoModel
from nas.report import (
    draw_contact_sheet,
    plot_contact_sheet,
    sample_all,
    student_and_teacher,
    write_moving_sheet,
)
from nas.space import SearchSpace
from tests.processes import finish, start_nas
from tests.tiny import TINY

PROMPTS = ["a red circle moves right", "a blue square moves up", "a green triangle moves left"]


def _model(seed: int, generation: Generation, **changes: object) -> VideoModel:
    torch.manual_seed(seed)
    space = SearchSpace.from_dict(TINY | changes)
    model = VideoModel.build(space, space.architecture(["conv1d", "none"]), generation)
    model.unet.eval()
    model.text_encoder.eval()
    return model


@pytest.fixture
def teacher() -> VideoModel:
    return _model(0, Generation(steps=6, guidance_scale=2.0))


@pytest.fixture
def student() -> VideoModel:
    return _model(1, Generation(steps=2, guidance_scale=1.0))


@pytest.mark.slow
def test_a_moving_sheet_has_every_frame_of_the_clips(student: VideoModel, teacher: VideoModel, tmp_path: Path) -> None:
    sampled = sample_all(student_and_teacher(student, teacher), PROMPTS[:1])
    for name in ("sheet.webp", "sheet.gif"):
        with Image.open(write_moving_sheet(sampled, PROMPTS[:1], tmp_path / name, fps=8)) as sheet:
            frames = [np.asarray(frame.convert("RGB"), dtype=int) for frame in ImageSequence.Iterator(sheet)]
            assert len(frames) == len(sampled[0].clips_TCHW[0]) == 4
            assert sheet.info["loop"] == 0
            assert sheet.info["duration"] in {120, 125}  # a GIF counts in hundredths of a second
        assert all(np.abs(frame - frames[0]).max() > 10 for frame in frames[1:])
    with pytest.raises(ConfigError, match=r"use \.webp or \.gif"):
        write_moving_sheet(sampled, PROMPTS[:1], tmp_path / "sheet.png", fps=8)


def test_calls_count_guidance_twice(student: VideoModel, teacher: VideoModel) -> None:
    samplings = student_and_teacher(student, teacher)
    assert [(each.steps, each.guidance_scale, each.calls) for each in samplings] == [(6, 2, 12), (2, 1, 2), (2, 1, 2)]
    calls = []
    teacher.unet.register_forward_hook(lambda *_: calls.append(1))
    sample_all(samplings[:1], PROMPTS[:2])
    assert len(calls) == 2 * 6  # text and no text go through in one call of twice the batch


def test_all_start_from_the_same_noise(student: VideoModel, teacher: VideoModel) -> None:
    full, short, distilled = sample_all(student_and_teacher(student, teacher), PROMPTS, seed=3)
    expected = to_bytes(teacher.generate(PROMPTS[1:2], seed=3, steps=2, guidance_scale=1.0, first=1))[0]
    assert torch.equal(short.clips_TCHW[1], expected)
    assert torch.equal(distilled.clips_TCHW[0], to_bytes(student.generate(PROMPTS[:1], seed=3))[0])
    assert torch.equal(full.clips_TCHW[2], to_bytes(teacher.generate(PROMPTS[2:], seed=3, first=2))[0])
    assert all(each.seconds_per_clip > 0 for each in (full, short, distilled))


def test_the_sheet_shows_every_clip_beside_what_it_cost(
    student: VideoModel, teacher: VideoModel, tmp_path: Path
) -> None:
    sampled = sample_all(student_and_teacher(student, teacher), PROMPTS)
    figure = draw_contact_sheet(sampled, PROMPTS)
    assert len(figure.axes) == 9
    assert [axes.get_title(loc="left") for axes in figure.axes[::3]] == PROMPTS
    words = [text.get_text() for axes in figure.axes[:3] for text in axes.texts]
    assert [text.splitlines()[0] for text in words] == ["teacher", "teacher, 2 steps, no guidance", "student"]
    assert "12 calls" in words[0]
    shown = figure.axes[5].get_images()[0].get_array()
    frames = list(sampled[2].clips_TCHW[1].permute(0, 2, 3, 1).numpy())
    assert all(np.array_equal(shown[:, 17 * place : 17 * place + 16], frame) for place, frame in enumerate(frames))
    assert (shown[:, 16::17] == 255).all()
    plot_contact_sheet(sampled, PROMPTS, tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").width > 1000


def test_models_of_other_shapes_are_not_compared(student: VideoModel) -> None:
    other = _model(0, Generation(), video={"frames": 8, "height": 16, "width": 16, "fps": 8})
    with pytest.raises(ConfigError, match=r"the teacher's latent clips are 8 x 48 x 4 x 4, the student's 4 x"):
        student_and_teacher(student, other)


@pytest.mark.slow
def test_the_command_writes_the_sheet_and_says_what_clips_cost(
    student: VideoModel, teacher: VideoModel, tmp_path: Path
) -> None:
    for name, model in (("student", student), ("teacher", teacher)):
        model.save(tmp_path / name)
    prompts = [part for prompt in PROMPTS for part in ("--prompt", prompt)]
    command = ["compare", tmp_path / "student", "--teacher", tmp_path / "teacher", *prompts, "--json"]
    printed = finish(start_nas(tmp_path, *command, "--out", tmp_path / "sheet.png"), tmp_path)
    rows = json.loads(printed)["rows"]
    assert [row["calls"] for row in rows] == [12, 2, 2]
    assert (tmp_path / "sheet.png").stat().st_size > 5000
