"""Starting from a model of images: its backbone and text encoder, under temporal layers that are new."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.cli import main
from nas.data import MovingShapes
from nas.errors import CheckpointError
from nas.models import Generation, VideoModel
from nas.space import SearchSpace
from nas.training import (
    SuperNetConfig,
    TrainingConfig,
    dry_run_model,
    dry_run_supernet,
    load_supernet,
    train_model,
    train_supernet,
)
from tests.space.spaces import QUICKSTART
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": {"block_out_channels": [16, 32]}}, r"its backbone differs from .*: block_out_channels is"),
        ({"backbone": {"attention_head_dim": 4}}, r"attention_head_dim is 2, not 4"),
        ({"text": {"heads": 1}}, r"its text differs from that of tiny: heads is 2, not 1"),
        ({"prediction": "velocity"}, r"prediction is 'data', not 'velocity'"),
    ],
)
def test_a_model_of_something_else_is_refused(
    change: dict[str, Any], message: str, clips: MovingShapes, config: SuperNetConfig, image_model: Path, tmp_path: Path
) -> None:
    changed = {key: TINY[key] | value if isinstance(value, dict) else value for key, value in change.items()}
    other = SearchSpace.from_dict(TINY | changed)
    with pytest.raises(CheckpointError, match=message):
        train_supernet(other, clips, config, tmp_path / "run", backbone=image_model)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_what_is_no_model_is_refused(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, image_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="not a model folder"):
        train_supernet(space, clips, config, tmp_path / "run", backbone=tmp_path)
    (image_model / "unet.safetensors").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"unet\.safetensors"):
        train_supernet(space, clips, config, tmp_path / "run", backbone=image_model)


def test_a_run_goes_on_with_the_start_it_had(
    space: SearchSpace, clips: MovingShapes, config: SuperNetConfig, image_model: Path, tmp_path: Path
) -> None:
    """A text encoder is part of the start, as the backbone is."""
    train_supernet(space, clips, config, tmp_path / "run", backbone=image_model)
    train_supernet(space, clips, config, tmp_path / "run", backbone=image_model)
    other = VideoModel.load(image_model)
    torch.nn.init.ones_(next(other.text_encoder.parameters()))
    other.save(tmp_path / "other")
    with pytest.raises(CheckpointError, match="another"):
        train_supernet(space, clips, config, tmp_path / "run", backbone=tmp_path / "other")


def test_a_dry_run_looks_where_weights_come_from(
    space: SearchSpace, config: SuperNetConfig, image_model: Path, tmp_path: Path
) -> None:
    frozen = config.model_copy(update={"freeze_backbone": True})
    assert dry_run_supernet(space, frozen, 1, backbone=image_model).frozen_parameters
    with pytest.raises(CheckpointError, match="not a model folder"):
        dry_run_supernet(space, frozen, 1, backbone=tmp_path)
    alone = TrainingConfig(**config.model_dump(include=set(TrainingConfig.model_fields)))
    with pytest.raises(CheckpointError, match="holds no trained supernet"):
        dry_run_model(space, space.smallest(), alone, 1, supernet=image_model)
    other = SearchSpace.from_dict(TINY | {"prediction": "velocity"})
    with pytest.raises(CheckpointError, match="prediction is 'data'"):
        dry_run_model(other, other.smallest(), alone, 1, backbone=image_model)


def test_a_frame_embedding_begins_anew(clips: MovingShapes, config: SuperNetConfig, tmp_path: Path) -> None:
    space = SearchSpace.from_dict(TINY | {"frame_embedding": True})
    torch.manual_seed(0)
    model = VideoModel.build(space, space.smallest(), Generation())
    embedding = [name for name in model.unet.state_dict() if "frame_embedding" in name]
    assert embedding
    torch.nn.init.ones_(model.unet.get_parameter(embedding[0]))
    model.save(tmp_path / "image")
    still = config.model_copy(update={"steps": 1, "learning_rate": 1e-12})
    train_supernet(space, clips, still, tmp_path / "run", backbone=tmp_path / "image")
    supernet, _ = load_supernet(space, tmp_path / "run")
    assert float(supernet.get_parameter(embedding[0]).detach().abs().max()) < 0.5


def test_only_one_place_may_say_where_weights_come_from(
    image_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    supernet = tmp_path / "supernet"
    supernet.mkdir()
    for path in (tmp_path / "one.yaml", supernet / "supernet.safetensors"):
        path.touch()
    command = f"nas train {QUICKSTART} --data moving_shapes --architecture {tmp_path / 'one.yaml'}"
    command += f" --out {tmp_path / 'run'} --backbone {image_model} --supernet {supernet}"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "--supernet and --backbone cannot be combined" in capsys.readouterr().err
