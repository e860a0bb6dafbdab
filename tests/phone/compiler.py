"""Stands in for Apple's model compiler: lists what a model consists of, in a file that the phone reads.

The list rather than the package goes to the phone, because a program that imports coremltools to parse the
package takes three seconds to start, and the list is all that the phone's formula needs.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from coremltools import proto
from coremltools.models import compute_plan
from coremltools.models.utils import load_spec

from tests.phone.desk import Record, read_json
from tests.phone.service import PROGRAM

_MIL = proto.MIL_pb2
_ITEM_BYTES = {_MIL.FLOAT16: 2, _MIL.FLOAT32: 4, _MIL.FLOAT64: 8, _MIL.INT32: 4, _MIL.INT64: 8, _MIL.BOOL: 1}
# A constant takes no time, and Apple's compute plan has nothing to say about it.
_CONSTANT = "const"


def compile_model(model: str) -> str:
    """Compile a model; `coremltools.models.utils.compile_model` calls this in macOS' place.

    Args:
        model: Path of a package.

    Returns:
        The folder of the compiled model, a temporary one.
    """
    folder = Path(tempfile.mkdtemp(suffix=".mlmodelc"))  # `compile_model` moves it to where it is wanted
    (folder / PROGRAM).write_text(json.dumps(program(load_spec(model))))
    return str(folder)


def program(spec: Any) -> Record:
    """What a model consists of.

    Args:
        spec: The specification of an ML program.
    """
    if spec.WhichOneof("Type") != "mlProgram":
        raise RuntimeError(f"the simulated compiler takes ML programs only, not {spec.WhichOneof('Type')}")
    operations, weight_bytes = [], 0
    for name, function in spec.mlProgram.functions.items():
        found, size = _function(name, function)
        operations += found
        weight_bytes += size
    return {
        "default_function": spec.description.defaultFunctionName or "main",
        "inputs": [_feature(item) for item in _features(spec, "input")],
        "outputs": [_feature(item) for item in _features(spec, "output")],
        "operations": operations,
        "weight_bytes": weight_bytes,
    }


def load_structure(compiled_model_path: str) -> compute_plan.MLModelStructure:
    """What `MLModelStructure.load_from_path` gets from macOS.

    Args:
        compiled_model_path: Folder of a compiled model.
    """
    record = read_json(Path(compiled_model_path) / PROGRAM)
    names = dict.fromkeys(operation["function"] for operation in record["operations"])
    functions = {name: _structure(record, name) for name in names}
    return compute_plan.MLModelStructure(
        neuralnetwork=None, program=compute_plan.MLModelStructureProgram(functions), pipeline=None
    )


def _structure(record: Record, function: str) -> compute_plan.MLModelStructureProgramFunction:
    operations = [
        compute_plan.MLModelStructureProgramOperation(
            inputs={},
            operator_name=operation["type"],
            outputs=[_named(name) for name in operation["outputs"]],
            blocks=[],
            __proxy__=None,
        )
        for operation in record["operations"]
        if operation["function"] == function
    ]
    names = [item["name"] for item in record["outputs"]]
    block = compute_plan.MLModelStructureProgramBlock(inputs=[], operations=operations, output_names=names)
    return compute_plan.MLModelStructureProgramFunction(inputs=[], block=block)


def _named(name: str) -> compute_plan.MLModelStructureProgramNamedValueType:
    return compute_plan.MLModelStructureProgramNamedValueType(name, compute_plan.MLModelStructureProgramValueType())


def _features(spec: Any, which: str) -> Any:
    # A model of several functions describes each of them; they are taken to share their inputs and outputs.
    description = spec.description.functions[0] if spec.description.functions else spec.description
    return getattr(description, which)


def _feature(feature: Any) -> Record:
    array = feature.type.multiArrayType
    types = proto.FeatureTypes_pb2.ArrayFeatureType
    names = {types.FLOAT16: "Float16", types.FLOAT32: "Float32", types.DOUBLE: "Float64", types.INT32: "Int32"}
    return {"name": feature.name, "shape": list(array.shape), "type": names[array.dataType]}


def _function(name: str, function: Any) -> tuple[list[Record], int]:
    block = function.block_specializations[function.opset]
    shapes = {item.name: _shape(item.type) for item in function.inputs}
    operations, weight_bytes = [], 0
    for operation in block.operations:
        shapes |= {item.name: _shape(item.type) for item in operation.outputs}
        if operation.type == _CONSTANT:
            weight_bytes += sum(_bytes(item.type) for item in operation.outputs)
        else:
            operations.append({"function": name} | _operation(operation, shapes))
    return operations, weight_bytes


def _operation(operation: Any, shapes: dict[str, list[int]]) -> Record:
    inputs = {
        name: [shapes.get(binding.name, []) for binding in argument.arguments if binding.name]
        for name, argument in operation.inputs.items()
    }
    every = [shape for items in inputs.values() for shape in items] + [_shape(item.type) for item in operation.outputs]
    item_bytes = _ITEM_BYTES.get(operation.outputs[0].type.tensorType.dataType, 2)
    return {
        "type": operation.type,
        "outputs": [item.name for item in operation.outputs],
        "rank": max((len(shape) for shape in every), default=0),
        "products": _products(operation.type, inputs, _shape(operation.outputs[0].type)),
        "bytes": item_bytes * sum(math.prod(shape) for shape in every),
    }


def _products(kind: str, inputs: dict[str, list[list[int]]], output: list[int]) -> int:
    """Multiplications of an operation, roughly."""
    if kind in ("conv", "linear") and inputs.get("weight"):
        weight = inputs["weight"][0]
        return math.prod(output) * math.prod(weight[1:])
    if kind == "matmul" and inputs.get("x"):
        return math.prod(output) * inputs["x"][0][-1]
    if kind == "scaled_dot_product_attention":
        return 2 * math.prod(inputs["query"][0]) * inputs["key"][0][-2]
    return 0


def _shape(value_type: Any) -> list[int]:
    return [dimension.constant.size for dimension in value_type.tensorType.dimensions]


def _bytes(value_type: Any) -> int:
    return math.prod(_shape(value_type)) * _ITEM_BYTES.get(value_type.tensorType.dataType, 0)
