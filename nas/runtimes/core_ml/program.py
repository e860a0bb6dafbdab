"""The program in a Core ML package: its operations, read from the file.

The converter rewrites a network: it decomposes norms, folds constants, and keeps attention as one operation or not. The
phone executes the operations in the package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.errors import CheckpointError
from nas.runtimes.core_ml.runtime import import_coremltools

_CONSTANT, _CAST = "const", "cast"
_COMPRESSED_CONSTANT = "constexpr_"
"""How the names of operations begin that make a weight from its compressed form."""

_FLOAT32 = 11
"""The number of fp32 among the types of values, in the format of Core ML (`MIL.proto`)."""

_GROUPS: Mapping[str, frozenset[str]] = {
    "conv": frozenset({"conv", "conv_transpose"}),
    "matmul": frozenset({"matmul", "einsum"}),
    "linear": frozenset({"linear"}),
    "attention": frozenset({"scaled_dot_product_attention"}),
    "softmax": frozenset({"softmax"}),
    "norm": frozenset({"batch_norm", "instance_norm", "layer_norm", "l2_norm", "local_response_norm"}),
    "reduce": frozenset({"reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_l2_norm", "reduce_argmax"}),
    "activation": frozenset({"silu", "gelu", "relu", "sigmoid", "sigmoid_hard", "tanh", "erf", "softplus", "elu"}),
    "elementwise": frozenset(
        {"add", "sub", "mul", "real_div", "floor_div", "maximum", "minimum", "square", "sqrt", "rsqrt", "pow", "exp",
         "log", "sin", "cos", "abs", "clip", "inverse", "floor", "round", "mod", "not_equal", "equal", "greater",
         "greater_equal", "less", "less_equal", "logical_and", "logical_or", "logical_not", "select"}
    ),
    "layout": frozenset(
        {"reshape", "transpose", "expand_dims", "squeeze", "split", "concat", "stack", "slice_by_index",
         "slice_by_size", "pad", "tile", "pixel_shuffle", "space_to_depth", "depth_to_space", "identity"}
    ),
    "resample": frozenset(
        {"upsample_nearest_neighbor", "upsample_bilinear", "resize_bilinear", "avg_pool", "max_pool"}
    ),
    "gather": frozenset({"gather", "gather_nd", "gather_along_axis", "one_hot", "range_1d", "fill"}),
    "cast": frozenset({"cast"}),
}  # fmt: skip
_OTHER = "other"

OPERATION_GROUPS = (*_GROUPS, _OTHER)
"""Groups of operations: some do arithmetic, others only move values."""


@dataclass(frozen=True)
class CoreMLProgram:
    """The program of a package.

    Args:
        operations: Number of operations of each type, in the order of first use, without constants.
        highest_rank: Most dimensions of any value, including constants and inputs. Core ML allows five.
        fp32_operations: Number of operations of each type that read or write a value in fp32, without casts.
        size_bytes: Total size of the package's files.
    """

    operations: Mapping[str, int]
    highest_rank: int
    fp32_operations: Mapping[str, int]
    size_bytes: int

    @property
    def groups(self) -> dict[str, int]:
        """Numbers of operations by `OPERATION_GROUPS`, including groups without any."""
        counts = dict.fromkeys(OPERATION_GROUPS, 0)
        for kind, count in self.operations.items():
            counts[operation_group(kind)] += count
        return counts


def operation_group(kind: str) -> str:
    """The group of `OPERATION_GROUPS` that a type of operation, such as `reduce_mean`, belongs to."""
    return next((group for group, kinds in _GROUPS.items() if kind in kinds), _OTHER)


def read_program(path: str | Path) -> CoreMLProgram:
    """Read the program of a `.mlpackage`; works on any platform that coremltools installs on.

    Raises:
        CheckpointError: There is no such package, it is damaged, or it holds no program.
        RuntimeUnavailableError: coremltools is not installed.
    """
    path = Path(path)
    functions = _functions(path)
    operations = [operation for function in functions for operation in _operations(_body(function))]
    executed = [operation for operation in operations if not _is_constant(operation.type)]
    given = [value for function in functions for value in function.inputs]
    made = [value for operation in operations for value in operation.outputs]
    types = {value.name: value.type for value in given}
    types |= {value.name: value.type for operation in executed for value in operation.outputs}
    return CoreMLProgram(
        operations=dict(Counter(operation.type for operation in executed)),
        highest_rank=max((value.type.tensorType.rank for value in (*given, *made)), default=0),
        fp32_operations=dict(Counter(operation.type for operation in executed if _touches_fp32(operation, types))),
        size_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    )


def _functions(path: Path) -> list[Any]:
    """The functions of a package's program."""
    if not path.is_dir():
        raise CheckpointError("no such model package", where=path)
    tools = import_coremltools()
    from google.protobuf.message import DecodeError  # comes with coremltools

    try:
        model = tools.utils.load_spec(str(path))
    except (RuntimeError, OSError, DecodeError) as error:
        line = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"not a valid Core ML model: {line}", where=path) from error
    if model.WhichOneof("Type") != "mlProgram":
        raise CheckpointError(f"holds no program but a {model.WhichOneof('Type')}", where=path)
    return list(model.mlProgram.functions.values())


def _is_constant(kind: str) -> bool:
    """Whether an operation only holds a weight, compressed or not."""
    return kind == _CONSTANT or kind.startswith(_COMPRESSED_CONSTANT)


def _body(function: Any) -> Any:
    """The block of a function that is executed."""
    return function.block_specializations[function.opset]


def _operations(block: Any) -> Iterator[Any]:
    """The operations of a block, and of the blocks within them, such as the branches of a condition."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from _operations(inner)


def _touches_fp32(operation: Any, types: Mapping[str, Any]) -> bool:
    """Whether an operation, other than a cast, reads or writes a value in fp32; its constants do not count."""
    if operation.type == _CAST:
        return False
    read = [argument.name for given in operation.inputs.values() for argument in given.arguments]
    touched = [types[name] for name in read if name in types] + [value.type for value in operation.outputs]
    return any(value.tensorType.dataType == _FLOAT32 for value in touched)
