"""The inputs and outputs of an ONNX file."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from nas.errors import CheckpointError
from nas.runtimes.signature import Signature, TensorKind, TensorType

_TYPES: dict[int, TensorKind] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
}


def read_signature(path: Path) -> Signature:
    """Read them off the graph; weights in a second file stay there.

    Raises:
        CheckpointError: The file is missing, or is no ONNX model.
    """
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"not a valid ONNX model: {error}", where=path) from error
    return Signature(inputs=tuple(map(_tensor_type, graph.input)), outputs=tuple(map(_tensor_type, graph.output)))


def _tensor_type(value: onnx.ValueInfoProto) -> TensorType:
    tensor = value.type.tensor_type
    shape = tuple(dimension.dim_value for dimension in tensor.shape.dim)
    return TensorType(name=value.name, shape=shape, dtype=_TYPES[tensor.elem_type])
