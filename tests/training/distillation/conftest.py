from __future__ import annotations

import pytest
import torch

from nas.data import MovingShapes
from nas.models import Generation, VideoModel, make_codec
from nas.space import SearchSpace
from nas.training.batches import Batch, BatchSource


@pytest.fixture
def teacher(space: SearchSpace) -> VideoModel:
    """A model in which every parameter has a say."""
    torch.manual_seed(0)
    model = VideoModel.build(space, space.architecture(["conv1d", "self_attention_3d"]), Generation(guidance_scale=2))
    for parameter in model.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.fixture
def batch(teacher: VideoModel, clips: MovingShapes) -> Batch:
    return BatchSource(clips, make_codec(teacher.space), teacher.text_encoder, 3, 2, 0.0, seed=1)(0)
