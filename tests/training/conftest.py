from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from nas.data import ClipShape, MovingShapes
from nas.models import Generation, VideoModel
from nas.space import SearchSpace
from nas.training import SuperNetConfig, train_supernet
from tests.tiny import TINY


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return SearchSpace.from_dict(TINY)


@pytest.fixture(scope="session")
def clips() -> MovingShapes:
    return MovingShapes(ClipShape(4, 16, 16, 8), clips=12, seed=0)


@pytest.fixture(scope="session")
def config() -> SuperNetConfig:
    return SuperNetConfig(steps=6, batch_size=2, image_batch_size=2, warmup_steps=1, checkpoint_every=2, seed=3)


@pytest.fixture(scope="session")
def finished_run(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a finished run with these settings; tests only read it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train_supernet(space, clips, config, folder)
    return folder


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, which a test may change."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture
def model(space: SearchSpace) -> VideoModel:
    """A model in which every parameter has a say."""
    torch.manual_seed(0)
    made = VideoModel.build(space, space.architecture(["conv1d", "self_attention_3d"]), Generation(guidance_scale=2))
    for parameter in made.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made
