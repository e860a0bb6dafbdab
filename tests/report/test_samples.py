"""Clips of many prompts as files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.data import frame_strip, to_bytes
from nas.errors import TrainingError
from nas.models import Generation, VideoModel
from nas.report.samples import BATCH, write_samples
from nas.space import SearchSpace
from tests.tiny import TINY

PROMPTS = [f"film number {number}" for number in range(BATCH + 2)]


@pytest.fixture(scope="module")
def model() -> VideoModel:
    space = SearchSpace.from_dict(TINY)
    return VideoModel.build(space, space.smallest(), Generation(steps=1))


def test_each_prompt_has_its_files_also_beyond_a_batch(model: VideoModel, tmp_path: Path) -> None:
    files = write_samples(model, PROMPTS, tmp_path / "made")
    assert [file.name for file in files] == [f"{number:02d}-film-number-{number}.mp4" for number in range(len(PROMPTS))]
    last = to_bytes(model.generate(PROMPTS)[-1])
    frame_strip(last, tmp_path / "expected.png")
    assert files[-1].with_suffix(".png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert files[-1].stat().st_size > 0
    assert write_samples(model, [], tmp_path / "none") == []


def test_what_was_made_before_a_failure_is_there(tmp_path: Path) -> None:
    class Diverging(VideoModel):
        def noise(self, clips: int, seed: int, first: int = 0) -> torch.Tensor:
            noise_BTCHW = super().noise(clips, seed, first)
            return noise_BTCHW * torch.nan if first else noise_BTCHW

    space = SearchSpace.from_dict(TINY)
    model = Diverging.build(space, space.smallest(), Generation(steps=1))
    with pytest.raises(TrainingError, match="film number 4"):
        write_samples(model, PROMPTS, tmp_path)
    assert len(list(tmp_path.glob("*.mp4"))) == BATCH
