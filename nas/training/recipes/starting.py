"""Weights to start from: the backbone and the text encoder of a trained model, with new temporal layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.errors import CheckpointError, ConfigError
from nas.models import SuperNet, TextEncoder, VideoUNet
from nas.models.model_folders import unet_file
from nas.models.network import load_spatial, spatial_names
from nas.models.weights import load_into, load_safetensors
from nas.space import Plan, SearchSpace
from nas.training.flow.config import TrainingConfig


def check_start(space: SearchSpace, config: TrainingConfig, backbone: str | Path | None = None) -> None:
    """Check the weights that a run is to start from, before anything is loaded.

    Args:
        space: Search space of the run.
        config: Settings of the run; they say whether the backbone is frozen.
        backbone: Folder of the model that the run starts from, as for `take_backbone`.

    Raises:
        CheckpointError: The folder holds no model, or one with another backbone, codec, text encoder or prediction.
        ConfigError: The backbone is frozen, and nothing gives it weights.
    """
    if backbone is not None:
        unet_file(backbone)
        _check_same(space, SearchSpace.load(Path(backbone) / "space.yaml"), Path(backbone))
    elif config.freeze_backbone and space.file.backbone.pretrained is None:
        raise ConfigError(
            "freeze_backbone: the frozen backbone would keep random weights",
            where=space.where,
            hint="name a checkpoint in backbone.pretrained, start from a --backbone, or set freeze_backbone: false",
        )


def take_backbone(network: VideoUNet | SuperNet, plan: Plan, text_encoder: TextEncoder, folder: str | Path) -> None:
    """Load the backbone and the text encoder of a model into a network and its text encoder.

    Temporal layers and the frame embedding, which tells the frames of a clip apart, keep their weights.

    Args:
        network: The network or supernet.
        plan: A plan of the network.
        text_encoder: Loaded only if it is trainable.
        folder: Folder of a model that `check_start` accepts: of any architecture, and of any space with the same
            backbone, codec, text encoder and prediction.

    Raises:
        CheckpointError: The folder holds no model, or a damaged one.
    """
    root, file = Path(folder), unet_file(folder)
    names = spatial_names(plan, network)
    weights = {name: weight for name, weight in load_safetensors(file).items() if name in names}
    load_spatial(network, plan, weights, where=file)
    if text_encoder.trainable:
        file = root / "text_encoder.safetensors"
        load_into(text_encoder, load_safetensors(file), where=file)


def _check_same(space: SearchSpace, trained: SearchSpace, root: Path) -> None:
    for part, ours in _parts(space).items():
        theirs = _parts(trained)[part]
        if ours != theirs:
            differing = next((key for key in ours if ours[key] != theirs.get(key)), part)
            raise CheckpointError(
                f"its {part} differs from that of {space.name}: {differing} is {theirs.get(differing)!r}, "
                f"not {ours.get(differing)!r}",
                where=root / "space.yaml",
                hint="start from a model of the same backbone, codec, text encoder and prediction",
            )


def _parts(space: SearchSpace) -> dict[str, dict[str, Any]]:
    """Settings that two spaces must share if one uses the backbone of the other; paths of files do not count."""
    file = space.file
    return {
        "backbone": file.backbone.model_dump(exclude={"pretrained"}),
        "codec": file.codec.model_dump(exclude={"path"}),
        "text": file.text.model_dump(exclude={"path"}),
        "prediction": {"prediction": file.prediction},
    }
