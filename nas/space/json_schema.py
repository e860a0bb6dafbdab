"""The JSON Schema of the search-space format, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from nas.space.layers import NONE, layer_config, layer_kinds
from nas.space.schema import SpaceFile


def json_schema() -> dict[str, Any]:
    """Schema of a search-space file, with every registered layer's own hyper-parameters."""
    schema = SpaceFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "nas search space"
    schema["$defs"]["LayerEntry"] = {"oneOf": [_layer(kind) for kind in layer_kinds()]}
    schema["$defs"]["SlotRule"]["properties"]["candidates"]["items"]["examples"] = [NONE, *layer_kinds()]
    return schema


def _layer(kind: str) -> dict[str, Any]:
    schema = layer_config(kind).model_json_schema()
    schema["title"] = kind
    schema["properties"] = {"kind": {"const": kind}, **schema.get("properties", {})}
    schema["required"] = ["kind"]
    return schema
