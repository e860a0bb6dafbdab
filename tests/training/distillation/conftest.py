from __future__ import annotations

import pytest

from nas.data import MovingShapes
from nas.models import VideoModel, make_codec
from nas.training.distillation import checks
from nas.training.flow.batches import Batch, BatchSource


@pytest.fixture(autouse=True)
def few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student's check makes 8 clips instead of 32."""
    monkeypatch.setattr(checks, "PROMPTS", 4)


@pytest.fixture
def teacher(model: VideoModel) -> VideoModel:
    return model


@pytest.fixture
def batch(teacher: VideoModel, clips: MovingShapes) -> Batch:
    return BatchSource(clips.latents(make_codec(teacher.space)), teacher.text_encoder, 3, 2, 0.0, seed=1)(0)
