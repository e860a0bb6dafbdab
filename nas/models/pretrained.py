"""Loading a backbone that diffusers saved: settings are compared with the search space's, then weights are read.

Weights of equal shapes may belong to networks that compute different things: with other heads, norms, activations or
embeddings. The checkpoint's `config.json` decides the computation, and is compared field by field.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nas.errors import CheckpointError
from nas.files import read_json
from nas.models.network import load_spatial
from nas.models.weight_files import find_weights
from nas.space import SearchSpace
from nas.space.backbone import Backbone

_CLASS = "UNet2DConditionModel"

_NO_MATTER = frozenset({"sample_size", "dropout"})
"""Fields that do not change what given weights compute: a hint for users, and a setting of training."""

_AVERAGES = frozenset(
    {"decay", "min_decay", "optimization_step", "update_after_step", "use_ema_warmup", "inv_gamma", "power"}
)
"""Keys that diffusers adds if the weights are an average over training steps."""

_PER_LEVEL = frozenset(
    {"layers_per_block", "transformer_layers_per_block", "attention_head_dim", "cross_attention_dim"}
)


def load_pretrained(module: nn.Module, space: SearchSpace, folder: str | Path) -> None:
    """Load a `UNet2DConditionModel` that diffusers saved into the backbone of a network or supernet.

    Args:
        module: The network of an architecture, or the supernet.
        space: Its search space.
        folder: The folder that diffusers saved, or that of a pipeline with it in `unet/`. `nas.models.weight_files`
            says which of its files are read.

    Raises:
        CheckpointError: The folder or one of its files is missing or damaged; the checkpoint's network computes
            something else than the space's backbone; or a weight is missing, left over, of another shape or not
            finite.
    """
    root = Path(folder)
    root = root / "unet" if (root / "unet").is_dir() else root
    files = find_weights(root)
    check_config(space, root / "config.json")
    load_spatial(module, space.lower(space.smallest()), files.read(), where=files.name)


def check_config(space: SearchSpace, file: Path) -> None:
    """Refuse a checkpoint whose settings are not those of the space's backbone.

    Args:
        space: The search space.
        file: The checkpoint's `config.json`.

    Raises:
        CheckpointError: It is missing or damaged, or fields differ; the message names each, with the expected value.
    """
    config = read_json(file, error=CheckpointError)
    if not isinstance(config, dict):
        raise CheckpointError(f"expected a mapping of keys, got {type(config).__name__}", where=file)
    if (name := config.get("_class_name", _CLASS)) != _CLASS:
        raise CheckpointError(f"_class_name: got {name!r}, expected {_CLASS!r}", where=file)
    if differing := list(_differing(space, config)):
        raise CheckpointError(
            "; ".join(differing),
            where=file,
            hint="give the search space's backbone the values of this file, or choose another checkpoint",
        )


def _differing(space: SearchSpace, config: Mapping[str, Any]) -> Iterator[str]:
    """The differences, one phrase for each field."""
    from diffusers import UNet2DConditionModel  # brings all UNets of diffusers

    fields = inspect.signature(UNet2DConditionModel.__init__).parameters
    defaults = {name: field.default for name, field in fields.items() if name != "self"}
    levels = len(space.file.backbone.block_out_channels)
    own = _own_fields(space)
    for name, default in defaults.items():
        got, expected = config.get(name, default), own.get(name, default)
        got = False if got is None and isinstance(default, bool) else got  # as diffusers reads it
        if name not in _NO_MATTER and _canonical(name, got, levels) != _canonical(name, expected, levels):
            only = "" if name in own else ", the only value that is implemented"
            yield f"{name}: got {_shown(got)}, expected {_shown(expected)}{only}"
    for name in sorted(config.keys() - defaults.keys() - _AVERAGES):
        if not name.startswith("_"):
            yield f"{name}: got {_shown(config[name])}, but {_CLASS} of this version of diffusers has no such field"


def _own_fields(space: SearchSpace) -> dict[str, Any]:
    """The fields of diffusers' class that the space's backbone implements, with its values."""
    backbone, channels = space.file.backbone, space.latent_shape[1]
    fields = {name: getattr(backbone, name) for name in Backbone.model_fields if name != "pretrained"}
    return fields | {"in_channels": channels, "out_channels": channels}


def _canonical(name: str, value: Any, levels: int) -> Any:
    """A value, written the same for all spellings that diffusers treats alike."""
    if name == "act_fn" and isinstance(value, str):
        return {"swish": "silu"}.get(value.lower(), value.lower())
    if isinstance(value, bool):  # which is a number in Python
        return str(value)
    if name in _PER_LEVEL and isinstance(value, int):
        return [value] * levels
    return [_canonical("", item, levels) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    """A value on one line, written much as in YAML and JSON."""
    return repr(list(value) if isinstance(value, tuple) else value)
