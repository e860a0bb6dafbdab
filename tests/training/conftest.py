from __future__ import annotations

import pytest
import torch

from nas.data import ClipShape, MovingShapes
from nas.models import Generation, VideoModel
from nas.space import SearchSpace
from nas.training import SuperNetConfig
from tests.tiny import TINY


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.from_dict(TINY)


@pytest.fixture
def clips() -> MovingShapes:
    return MovingShapes(ClipShape(4, 16, 16, 8), clips=12, seed=0)


@pytest.fixture
def config() -> SuperNetConfig:
    return SuperNetConfig(steps=6, batch_size=2, image_batch_size=2, warmup_steps=1, checkpoint_every=2, seed=3)


@pytest.fixture
def model(space: SearchSpace) -> VideoModel:
    """A model in which every parameter has a say."""
    torch.manual_seed(0)
    made = VideoModel.build(space, space.architecture(["conv1d", "self_attention_3d"]), Generation(guidance_scale=2))
    for parameter in made.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made
