"""The files of a trained supernet: weights, search space and settings."""

from __future__ import annotations

from pathlib import Path

from nas.errors import CheckpointError
from nas.files import atomic_folder, load_yaml, write_yaml
from nas.models import SuperNet, TextEncoder, make_text_encoder
from nas.models.model_folders import SUPERNET_WEIGHTS, supernet_folder
from nas.models.video_model import portable_space
from nas.models.weights import load_into, load_safetensors, save_safetensors
from nas.space import SearchSpace
from nas.training.flow.config import SuperNetConfig

WEIGHTS, TEXT_WEIGHTS = SUPERNET_WEIGHTS, "text_encoder.safetensors"


def save_supernet(supernet: SuperNet, text_encoder: TextEncoder, config: SuperNetConfig, folder: Path) -> None:
    """Write a supernet, its space and its settings into a folder."""
    with atomic_folder(folder, "supernet") as out:
        save_safetensors(out / WEIGHTS, supernet.state_dict())
        if text_encoder.trainable:
            save_safetensors(out / TEXT_WEIGHTS, text_encoder.state_dict())
        write_yaml(out / "space.yaml", portable_space(supernet.space))
        write_yaml(out / "training.yaml", config.model_dump())


def load_supernet(space: SearchSpace, folder: str | Path) -> tuple[SuperNet, TextEncoder]:
    """Read what `train_supernet` wrote.

    Args:
        space: The search space; must be the one that the supernet was trained for.
        folder: The run's folder, or the `supernet` folder inside it.

    Raises:
        CheckpointError: There is no supernet, it is damaged, or it belongs to another space.
    """
    root, trained = checked_supernet(space, folder)
    supernet, text_encoder = SuperNet(trained), make_text_encoder(trained)
    load_into(supernet, load_safetensors(root / WEIGHTS), where=root / WEIGHTS)
    if text_encoder.trainable:
        load_into(text_encoder, load_safetensors(root / TEXT_WEIGHTS), where=root / TEXT_WEIGHTS)
    return supernet.eval(), text_encoder.eval()


def checked_supernet(space: SearchSpace, folder: str | Path) -> tuple[Path, SearchSpace]:
    """The folder with the weights of a supernet, and the space that it was trained for.

    Raises:
        CheckpointError: There is no supernet, or it belongs to another space than `space`.
    """
    root = supernet_folder(folder)
    trained = SearchSpace.load(root / "space.yaml")
    if trained.fingerprint != space.fingerprint:
        raise CheckpointError(
            f"was trained for another search space ({trained.name}), or another version of it",
            where=root,
            hint=f"train again for {space.name}, or use the space.yaml beside the weights",
        )
    return root, trained


def trained_with(folder: str | Path) -> SuperNetConfig:
    """Settings that the supernet in a folder was trained with."""
    return load_yaml(supernet_folder(folder) / "training.yaml", SuperNetConfig)
