"""Starting from a model of images: its backbone and text encoder, under temporal layers that are new."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.data import MovingShapes
from nas.errors import CheckpointError, ConfigError
from nas.models import Generation, VideoModel
from nas.space import SearchSpace
from nas.training import SuperNetConfig, TrainingConfig, load_supernet, train_model, train_supernet
from tests.tiny import TINY


@pytest.fixture
def image_model(space: SearchSpace, tmp_path: Path) -> Path:
    """A model without temporal layers, every weight of which has a say."""
    torch.manual_seed(0)
    model = VideoModel.build(space, space.smallest(), Generation())
    for parameter in (*model.unet.parameters(), *model.text_encoder.parameters()):
        torch.nn.init.normal_(parameter, std=0.1)
    model.save(tmp_path / "image")
    return tmp_path / "image"


def test_a_supernet_keeps_the_backbone_it_starts_from(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, image_model: Path, tmp_path: Path
) -> None:
    frozen = config.model_copy(update={"freeze_backbone": True})
    train_supernet(space, clips, frozen, tmp_path / "run", backbone=image_model)
    supernet, _ = load_supernet(space, tmp_path / "run")
    inputs = (torch.randn(1, *space.latent_shape), torch.tensor([500.0]), torch.randn(1, *space.context_shape))
    with torch.no_grad():
        expected = VideoModel.load(image_model).unet(*inputs)
        assert torch.equal(supernet(*inputs, space.smallest()), expected)
        assert not torch.equal(supernet(*inputs, space.architecture(["conv1d", "none"])), expected), "others learned"


def test_a_model_starts_where_the_image_model_ended(
    space: SearchSpace, clips: MovingShapes, image_model: Path, tmp_path: Path
) -> None:
    """A rate of almost nothing leaves backbone and text encoder; new temporal layers add nothing at first."""
    still = TrainingConfig(steps=1, batch_size=2, image_batch_size=0, learning_rate=1e-12, weight_decay=0)
    train_model(space, space.architecture(["conv1d", "none"]), clips, still, tmp_path / "run", backbone=image_model)
    made, began = VideoModel.load(tmp_path / "run" / "model"), VideoModel.load(image_model)
    tokens = torch.randint(0, 60, (1, 8))
    inputs = torch.randn(1, *space.latent_shape), torch.tensor([500.0])
    with torch.no_grad():
        expected = began.unet(*inputs, began.text_encoder(tokens))
        torch.testing.assert_close(made.unet(*inputs, made.text_encoder(tokens)), expected)


def test_another_backbone_or_none_is_refused(
    clips: MovingShapes, config: SuperNetConfig, image_model: Path, tmp_path: Path
) -> None:
    wider = SearchSpace.from_dict(TINY | {"backbone": TINY["backbone"] | {"block_out_channels": [16, 32]}})
    with pytest.raises(CheckpointError, match=r"unet\.safetensors: 2 weights missing"):
        train_supernet(wider, clips, config, tmp_path / "run", backbone=image_model)
    with pytest.raises(CheckpointError, match="not a model folder"):
        train_supernet(wider, clips, config, tmp_path / "run", backbone=tmp_path)
    frozen = config.model_copy(update={"freeze_backbone": True})
    with pytest.raises(ConfigError, match="freeze_backbone"):
        train_supernet(wider, clips, frozen, tmp_path / "run")
