"""Starting from a model that has learned to make pictures, and has no temporal layers yet that are worth keeping."""

from __future__ import annotations

from pathlib import Path

from nas.models import SuperNet, TextEncoder, VideoModel, VideoUNet
from nas.models.network import load_spatial, spatial_names
from nas.models.weights import load_into
from nas.space import Plan


def take_backbone(network: VideoUNet | SuperNet, plan: Plan, text_encoder: TextEncoder, folder: str | Path) -> None:
    """Give a network and its text encoder the backbone and the text encoder of a model.

    Args:
        network: The network or supernet; its temporal layers stay as they are.
        plan: A plan of it.
        text_encoder: Stays as it is where it is not trained.
        folder: What `VideoModel.save` wrote: any architecture, of any space with the same backbone.

    Raises:
        CheckpointError: There is no model, it is damaged, or its backbone or text encoder is another.
    """
    model, root = VideoModel.load(folder), Path(folder)
    names = spatial_names(model.unet.plan, model.unet)
    weights = {name: weight for name, weight in model.unet.state_dict().items() if name in names}
    load_spatial(network, plan, weights, where=root / "unet.safetensors")
    if text_encoder.trainable:
        load_into(text_encoder, model.text_encoder.state_dict(), where=root / "text_encoder.safetensors")
