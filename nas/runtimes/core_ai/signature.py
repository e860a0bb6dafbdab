"""The inputs and outputs of a Core AI asset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nas.errors import CheckpointError
from nas.runtimes.core_ai.executable import FUNCTION
from nas.runtimes.signature import Signature, TensorKind, TensorType

_ARRAY = re.compile(r"NDArray \((\w+), ([\d \u00d7]+)\)")
"""A tensor's type as the library writes it: `NDArray (Float16, 1 x 8 x 48)`, with times signs."""

_TYPES: dict[str, TensorKind] = {"Float32": "float32", "Float16": "float16", "Int64": "int64", "Int32": "int32"}


def read_signature(path: Path) -> Signature:
    """Read them from the summary that the library makes of an asset, without loading it.

    Raises:
        CheckpointError: The asset is missing or damaged, or has tensors of other types.
    """
    from coreai.authoring import AIModelAsset

    try:
        summary: Any = AIModelAsset.load(path).summary(include_statistics=False)
        inputs, outputs = summary.function_inputs(FUNCTION), summary.function_outputs(FUNCTION)
    except (RuntimeError, AttributeError) as error:
        raise CheckpointError(f"not a valid Core AI asset: {error}", where=path) from error
    return Signature(
        inputs=tuple(_tensor_type(name, text, path) for name, text in inputs),
        outputs=tuple(_tensor_type(name, text, path) for name, text in outputs),
    )


def _tensor_type(name: str, text: str, path: Path) -> TensorType:
    found = _ARRAY.fullmatch(text)
    if found is None or found[1] not in _TYPES:
        raise CheckpointError(f"{name} has the type {text}, which is not supported", where=path)
    return TensorType(name=name, shape=tuple(map(int, found[2].split("\u00d7"))), dtype=_TYPES[found[1]])
