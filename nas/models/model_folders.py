"""The folders of models and supernets: where their weights are. It loads no library, so it can be asked first."""

from __future__ import annotations

from pathlib import Path

from nas.errors import CheckpointError
from nas.files import require_whole

SUPERNET_WEIGHTS = "supernet.safetensors"

_UNET = "unet.safetensors"
_INSIDE = ("model", "distill/model", "bundle", "export/bundle")
"""Where the folders of trainings, runs and exports hold a model."""


def unet_file(folder: str | Path) -> Path:
    """The weights of the denoising network in a model's folder; raises `CheckpointError` if it is no model."""
    root = Path(folder)
    if not root.exists():
        hint = "`nas train --architecture`, `nas distill` and `nas run` make models"
        raise CheckpointError("not a model folder: it does not exist", where=folder, hint=hint)
    require_whole(folder)
    file = root / _UNET
    if not file.is_file():
        found = [root / name for name in _INSIDE if (root / name / _UNET).is_file()]
        inside = f"name the model in it: {found[0]}" if found else None
        raise CheckpointError(f"not a model folder: {file.name} is missing", where=folder, hint=inside)
    return file


def supernet_folder(folder: str | Path) -> Path:
    """The folder with the weights of a supernet: the one given, or `supernet` in it.

    Raises:
        CheckpointError: There is no supernet, or it is half-written.
    """
    root = Path(folder)
    root = root / "supernet" if (root / "supernet").is_dir() else root
    require_whole(root)
    if not (root / SUPERNET_WEIGHTS).is_file():
        inside = root / "train"
        has = (inside / "supernet" / SUPERNET_WEIGHTS).is_file()
        hint = f"name the training in it: {inside}" if has else "make one with `nas train`"
        raise CheckpointError("holds no trained supernet", where=root, hint=hint)
    return root
