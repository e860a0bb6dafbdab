"""Starting from a model that has learned to make pictures: its backbone and text encoder, under new temporal layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.errors import CheckpointError
from nas.models import SuperNet, TextEncoder, VideoUNet
from nas.models.network import load_spatial, spatial_names
from nas.models.video_model import unet_file
from nas.models.weights import load_into, load_safetensors
from nas.space import Plan, SearchSpace


def take_backbone(
    network: VideoUNet | SuperNet, plan: Plan, text_encoder: TextEncoder, space: SearchSpace, folder: str | Path
) -> None:
    """Give a network and its text encoder the backbone and the text encoder of a model.

    Temporal layers stay as they are, and so does a frame embedding, which tells the frames of a clip apart.

    Args:
        network: The network or supernet.
        plan: A plan of it.
        text_encoder: Stays as it is where it is not trained.
        space: The search space of both.
        folder: What `VideoModel.save` wrote: any architecture, of any space with the same backbone, codec, text encoder
            and prediction.

    Raises:
        CheckpointError: There is no model, it is damaged, or one of these is another.
    """
    root, file = Path(folder), unet_file(folder)
    _check_same(space, SearchSpace.load(root / "space.yaml"), root)
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
