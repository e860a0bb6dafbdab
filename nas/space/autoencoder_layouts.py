"""Layouts of autoencoders: how they are built, as far as that decides what they compute.

diffusers says in a `config.json` how an autoencoder is built. The fields that decide the arithmetic, in one canonical
form, are the configuration of its block. So a table does not depend on where the weights are stored, and a block can be
measured before its weights are downloaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import CheckpointError, ConfigError, NasError
from nas.files import read_json
from nas.registry import import_object
from nas.space.schema import AutoencoderCodec

_OWN_AUTOENCODERS = {"AutoencoderTinyVideo": "nas.models.tiny_video:AutoencoderTinyVideo"}
"""Autoencoders of this project by the name of their class; all others are diffusers'."""


def autoencoder_layout(codec: AutoencoderCodec, folder: str | None) -> str:
    """The layout of an autoencoder as canonical JSON: its class, and what differs from that class's defaults.

    Args:
        codec: The codec of a search space.
        folder: Its `path`, made absolute; read if the space gives no layout.

    Raises:
        CheckpointError: The folder holds no autoencoder of diffusers.
        ConfigError: The space's layout is not one of an autoencoder.
    """
    if codec.layout is not None:
        return _canonical(codec.layout, ConfigError, "codec.layout")
    assert folder is not None, "AutoencoderCodec has a path or a layout"
    return folder_layout(folder)


def folder_layout(folder: str | Path) -> str:
    """The canonical layout of an autoencoder that diffusers saved to a folder.

    Keys of `config.json` that are no fields of the class do not change the arithmetic, and are ignored.

    Raises:
        CheckpointError: The folder holds no autoencoder of diffusers.
    """
    file = Path(folder) / "config.json"
    config = read_json(file, error=CheckpointError)
    config = config if isinstance(config, dict) else {}
    fields = _fields(autoencoder_class(config.get("_class_name"), CheckpointError, str(file)))
    if config.get("quantization_config") is not None:
        raise CheckpointError("belongs to a quantised autoencoder, which is not implemented", where=file)
    known = {key: value for key, value in config.items() if key in fields or key == "_class_name"}
    return _canonical(known, CheckpointError, str(file))


def autoencoder_class(name: object, error: type[NasError], where: str) -> Any:
    """The class of an autoencoder: this project's own, or diffusers'.

    Raises:
        NasError: Of the given type: there is no autoencoder of that name.
    """
    if isinstance(name, str) and name in _OWN_AUTOENCODERS:
        return import_object(_OWN_AUTOENCODERS[name])
    import diffusers  # heavy, and only spaces with an autoencoder need it

    kind = getattr(diffusers, name, None) if isinstance(name, str) and name.startswith("Autoencoder") else None
    if not hasattr(kind, "from_pretrained"):
        own = " or ".join(_OWN_AUTOENCODERS)
        raise error(f"_class_name {name or ''!r} is not an autoencoder of diffusers, nor {own}", where=where)
    return kind


def _canonical(config: Mapping[str, Any], error: type[NasError], where: str) -> str:
    name = config.get("_class_name")
    defaults = _fields(autoencoder_class(name, error, where))
    given = {key: value for key, value in config.items() if key != "_class_name"}
    if unknown := sorted(given.keys() - defaults.keys()):
        raise error(f"{name} has no field {unknown[0]!r}", where=where)
    changed = {key: value for key, value in given.items() if _plain(value) != defaults[key]}
    return json.dumps({"_class_name": name, **changed}, sort_keys=True, separators=(",", ":"))


def _fields(kind: Any) -> dict[str, object]:
    """The fields of a class of diffusers, with their defaults."""
    parameters = inspect.signature(kind.__init__).parameters
    return {name: _plain(parameter.default) for name, parameter in parameters.items() if name != "self"}


def _plain(value: object) -> object:
    """A value after a round trip through JSON, so that tuples and lists compare."""
    return None if value is inspect.Parameter.empty else json.loads(json.dumps(value))
