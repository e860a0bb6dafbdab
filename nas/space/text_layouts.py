"""Layouts of text encoders: how they are built, as far as that decides what they compute.

transformers says in a `config.json` how a text encoder is built. The fields that decide the arithmetic are the
configuration of its block, as for autoencoders.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import CheckpointError, ConfigError, NasError
from nas.files import parse, read_json
from nas.space.schema import ClipLayout, ClipText, TransformersText

_CLIP_DEFAULTS = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
"""Defaults of transformers' `CLIPTextConfig`, for fields that a file leaves out; a space has other defaults."""

_NO_ARITHMETIC = re.compile(
    r"dropout|initializer|use_cache|num_decoder_layers|is_encoder_decoder|(bos|eos|sep|cls)_token_id"
)
"""Fields of configurations that do not change what an encoder computes."""

_NESTED = "its text model is a part of a larger model, whose configuration nests that of the text model"
_VALUES = "it looks at the values of its input, so its costs cannot be counted"
_UNFIT = {
    **dict.fromkeys(["emu3", "llama4", "mllama", "t5gemma"], _NESTED),
    **dict.fromkeys(
        ["big_bird", "flaubert", "ibert", "longformer", "rembert", "roformer", "squeezebert", "xlm"], _VALUES
    ),
    "molmo2_text": "it has no pad_token_id, so captions of different length cannot be encoded",
    "nystromformer": "its contexts depend on the padding",
    "reformer": "its contexts are random",
}
"""Types that transformers lists as text encoders and that cannot be one here, and why."""


def clip_layout(text: ClipText, folder: str | None) -> ClipLayout:
    """The layout of a text encoder: the search space's, or its folder's if the space gives none.

    Args:
        text: The text encoder of a search space.
        folder: Its `path`, made absolute.

    Raises:
        CheckpointError: The folder holds no text encoder.
        ConfigError: Its width differs from the space's.
    """
    if text.layout is not None:
        layout, where = text.layout, "text.layout"
    else:
        assert folder is not None, "ClipText has a path or a layout"
        file = text_folder(folder, "text_encoder") / "config.json"
        layout, where = _clip_config(file), str(file)
    if layout.hidden_size != text.width:
        raise ConfigError(f"hidden_size is {layout.hidden_size}, text.width {text.width}", where=where)
    if text.tokens > layout.max_position_embeddings:
        most = layout.max_position_embeddings
        raise ConfigError(f"max_position_embeddings is {most}, text.tokens {text.tokens}", where=where)
    return layout


def transformers_layout(text: TransformersText, folder: str | None) -> str:
    """The layout of a text encoder as canonical JSON: its `model_type`, and what differs from that type's defaults.

    Args:
        text: The text encoder of a search space.
        folder: Its `path`, made absolute; read if the space gives no layout.

    Raises:
        CheckpointError: The folder holds no text encoder of transformers.
        ConfigError: The space's layout is not one of a text encoder, or it does not fit `tokens` and `width`.
    """
    if text.layout is not None:
        layout, where = _canonical(text.layout, ConfigError, "text.layout"), "text.layout"
    else:
        assert folder is not None, "TransformersText has a path or a layout"
        layout, where = saved_layout(folder), str(text_folder(folder, "text_encoder") / "config.json")
    config, _ = text_model(json.loads(layout), ConfigError, where)
    if getattr(config, "hidden_size", None) != text.width:
        width = getattr(config, "hidden_size", "missing")
        raise ConfigError(f"hidden_size is {width}, text.width {text.width}", where=where)
    if text.tokens > (most := getattr(config, "max_position_embeddings", None) or text.tokens):
        raise ConfigError(f"max_position_embeddings is {most}, text.tokens {text.tokens}", where=where)
    return layout


def transformers_types() -> tuple[str, ...]:
    """The types of text encoders that a layout may have; raises `ConfigError` if transformers is not installed."""
    return tuple(sorted(name for name in _config_classes() if not name.startswith("clip") and name not in _UNFIT))


def saved_layout(folder: str | Path) -> str:
    """The canonical layout of a text encoder that transformers saved to a folder.

    Keys of `config.json` that are no fields of the configuration do not change the arithmetic, and are ignored.

    Raises:
        CheckpointError: The folder holds no text encoder of transformers.
    """
    file = text_folder(folder, "text_encoder") / "config.json"
    config = read_json(file, error=CheckpointError)
    config = config if isinstance(config, dict) else {}
    if config.get("quantization_config") is not None:
        raise CheckpointError("belongs to a quantised text encoder, which is not implemented", where=file)
    fields = _fields(config.get("model_type"), CheckpointError, str(file))
    known = {key: value for key, value in config.items() if key in fields or key == "model_type"}
    return _canonical(known, CheckpointError, str(file))


def text_model(layout: Mapping[str, Any], error: type[NasError], where: str) -> tuple[Any, Any]:
    """Configuration and class of a layout's model, both of transformers.

    Raises:
        NasError: Of the given type: transformers has no such text encoder, or refuses the values.
    """
    kind = _config_class(layout.get("model_type"), error, where)
    try:
        config = kind(**{key: value for key, value in layout.items() if key != "model_type"})
    except Exception as problem:  # transformers checks some values, and computes with others
        lines = str(problem).splitlines()
        what = lines[-1].strip() if lines else type(problem).__name__
        raise error(f"is no {kind.__name__}: {what}", where=where) from problem
    return config, _transformers().MODEL_FOR_TEXT_ENCODING_MAPPING[kind]


def text_folder(folder: str | Path, name: str) -> Path:
    """The `tokenizer` or `text_encoder` below a Stable Diffusion checkpoint, or the folder itself."""
    nested = Path(folder) / name
    return nested if nested.is_dir() else Path(folder)


def _canonical(config: Mapping[str, Any], error: type[NasError], where: str) -> str:
    name = config.get("model_type")
    defaults = _fields(name, error, where)
    given = {key: value for key, value in config.items() if key != "model_type"}
    if unknown := sorted(given.keys() - defaults.keys()):
        raise error(f"{name} has no field {unknown[0]!r}", where=where)
    changed = {key: value for key, value in given.items() if value != defaults[key]}
    return json.dumps({"model_type": name, **changed}, sort_keys=True, separators=(",", ":"))


def _fields(name: object, error: type[NasError], where: str) -> dict[str, object]:
    """The fields of a model type that decide the arithmetic, with their defaults."""
    kind = _config_class(name, error, where)
    base = inspect.signature(_transformers().PretrainedConfig.__init__).parameters
    parameters = inspect.signature(kind.__init__).parameters
    own = {key: each.default for key, each in parameters.items() if each.kind is not each.VAR_KEYWORD}
    return {
        key: None if default is inspect.Parameter.empty else default
        for key, default in own.items()
        if key == "pad_token_id" or not (key in base or _NO_ARITHMETIC.search(key))
    }


def _config_class(name: object, error: type[NasError], where: str) -> Any:
    """The configuration class of a model type.

    Raises:
        ConfigError: transformers is not installed.
        NasError: Of the given type: it has no text encoder of that type.
    """
    if isinstance(name, str) and name.startswith("clip"):
        raise error(f"model_type {name} is CLIP", where=where, hint="write text.kind: clip")
    if isinstance(name, str) and name in _UNFIT:
        raise error(f"model_type {name} cannot encode captions here: {_UNFIT[name]}", where=where,
                    hint=f"take one of {', '.join(transformers_types())}")  # fmt: skip
    kinds = _config_classes()
    if not isinstance(name, str) or name not in kinds:
        known = ", ".join(transformers_types())
        raise error(f"model_type {name or ''!r} is no text encoder of transformers ({known})", where=where)
    return kinds[name]


def _config_classes() -> dict[str, Any]:
    """The configuration class of each type that transformers lists as a text encoder."""
    return {kind.model_type: kind for kind in _transformers().MODEL_FOR_TEXT_ENCODING_MAPPING}


def _transformers() -> Any:
    """The library transformers; raises `ConfigError` if it is not installed."""
    try:
        import transformers  # heavy, and only spaces with such a text encoder need it
    except ImportError as error:
        hint = 'install the extra: pip install "nas-video[clip]"'
        raise ConfigError("text.kind transformers needs transformers", hint=hint) from error
    return transformers


def _clip_config(file: Path) -> ClipLayout:
    config = read_json(file, error=CheckpointError)
    fields = config.get("text_config", config) if isinstance(config, dict) else {}
    if not isinstance(fields, dict) or "clip" not in str(fields.get("model_type", "")):
        raise CheckpointError("is not the configuration of a CLIP text encoder", where=file)
    if fields.get("quantization_config") is not None:
        raise CheckpointError("belongs to a quantised text encoder, which is not implemented", where=file)
    known = {key: value for key, value in fields.items() if key in ClipLayout.model_fields}
    return parse(_CLIP_DEFAULTS | known, ClipLayout, where=file)
