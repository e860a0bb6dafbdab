"""Starting from a model that has learned to make pictures: its backbone and text encoder, under new temporal layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.errors import CheckpointError, ConfigError
from nas.models import SuperNet, TextEncoder, VideoUNet
from nas.models.network import load_spatial, spatial_names
from nas.models.video_model import unet_file
from nas.models.weights import load_into, load_safetensors
from nas.space import Plan, SearchSpace
from nas.training.flow.config import TrainingConfig


def check_start(space: SearchSpace, config: TrainingConfig, backbone: str | Path | None = None) -> None:
    """Refuse a start that a run cannot have, before it loads anything.

    Args:
        space: The search space of the run.
        config: Says whether the backbone is frozen.
        backbone: Folder of the model that the run starts from, as for `take_backbone`.

    Raises:
        CheckpointError: That folder is no model, or one of another backbone, codec, text encoder or prediction.
        ConfigError: The backbone is to stay as it is, and has no weights to keep.
    """
    if backbone is not None:
        unet_file(backbone)
        _check_same(space, SearchSpace.load(Path(backbone) / "space.yaml"), Path(backbone))
    elif config.freeze_backbone and space.file.backbone.pretrained is None:
        raise ConfigError(
            "freeze_backbone: the backbone would stay as random as it begins",
            where=space.where,
            hint="name a checkpoint in backbone.pretrained, start from a model of images, or train the backbone, too",
        )


def take_backbone(network: VideoUNet | SuperNet, plan: Plan, text_encoder: TextEncoder, folder: str | Path) -> None:
    """Give a network and its text encoder the backbone and the text encoder of a model.

    Temporal layers stay as they are, and so does a frame embedding, which tells the frames of a clip apart.

    Args:
        network: The network or supernet.
        plan: A plan of it.
        text_encoder: Stays as it is where it is not trained.
        folder: What `VideoModel.save` wrote, and `check_start` let pass: any architecture, of any space with the same
            backbone, codec, text encoder and prediction.

    Raises:
        CheckpointError: There is no model, or it is damaged.
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
                f"its {part} is another than that of {space.name}: {differing} is {theirs.get(differing)!r}, "
                f"not {ours.get(differing)!r}",
                where=root / "space.yaml",
                hint="start from a model of the same backbone, codec, text encoder and prediction",
            )


def _parts(space: SearchSpace) -> dict[str, dict[str, Any]]:
    """What the weights of a backbone mean nothing without; where files lie is no part of it."""
    file = space.file
    return {
        "backbone": file.backbone.model_dump(exclude={"pretrained"}),
        "codec": file.codec.model_dump(exclude={"path"}),
        "text": file.text.model_dump(exclude={"path"}),
        "prediction": {"prediction": file.prediction},
    }
