"""The operations of a module with their counts, which the roofline model reads.

They come from the graph of `torch.export`, as conversions to Core ML do. So any torch module works, also on the meta
device. Operations that a compiler fuses are counted as fused: an elementwise operation moves only its further operands,
a batch norm in evaluation mode is part of the convolution before it, and a view moves nothing.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg

from nas.errors import RuntimeUnavailableError
from nas.runtimes.conversion import captured, functional

Kind = Literal[
    "convolution", "convolution_3d", "matmul", "attention", "reduction", "elementwise", "sinusoid", "layout", "lookup"
]
"""Kinds of operations that processors treat alike. Products of two activations, as in attention, are `attention`."""

_CONVOLUTIONS = ("convolution", "conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_ATTENTION = "scaled_dot_product_attention"
_NAMES: dict[Kind | None, str] = {
    "matmul": "linear addmm mm bmm baddbmm matmul einsum mv dot",
    "reduction": "layer_norm group_norm native_layer_norm native_group_norm instance_norm rms_norm softmax _softmax "
    "log_softmax _log_softmax logsumexp mean sum prod amax amin max min any all std std_mean var var_mean "
    "norm linalg_vector_norm argmax argmin cumsum topk sort argsort max_pool1d max_pool2d "
    "max_pool2d_with_indices max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d _adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d",
    # Pointwise operations that torch does not tag as such.
    "elementwise": "hardswish hardsigmoid hardtanh relu6 prelu glu where __and__ __or__ __xor__ masked_fill",
    "sinusoid": "sin cos",
    "layout": "permute transpose t movedim cat concat concatenate stack pad constant_pad_nd reflection_pad1d "
    "reflection_pad2d replication_pad1d replication_pad2d replication_pad3d roll flip swapaxes "
    "pixel_shuffle pixel_unshuffle channel_shuffle upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d _upsample_nearest_exact2d upsample_linear1d upsample_bilinear2d "
    "_upsample_bilinear2d_aa upsample_bicubic2d upsample_trilinear3d repeat repeat_interleave im2col "
    "slice_scatter tril triu",
    "lookup": "embedding index index_select gather take_along_dim scatter grid_sampler grid_sampler_2d",
    # Operations without cost: views, constants, and those that are folded into the operation before.
    None: "view _unsafe_view reshape unsqueeze squeeze expand expand_as flatten unflatten detach alias clone "
    "contiguous _to_copy to type_as slice select split chunk unbind split_with_sizes dropout feature_dropout "
    "lift_fresh_copy _assert_tensor_metadata _assert_scalar full arange zeros ones empty zeros_like ones_like "
    "full_like new_zeros new_ones new_full scalar_tensor sym_size batch_norm _native_batch_norm_legit_no_training",
}
_KINDS: dict[str, Kind | None] = {name: kind for kind, names in _NAMES.items() for name in names.split()}


@dataclass(frozen=True)
class Operation:
    """One operation of a graph.

    Args:
        name: Its name in ATen, e.g. `conv2d`.
        kind: Its kind.
        macs: Multiply-accumulates.
        weight_values: Values of weights that it reads.
        tensor_values: Values of each activation that it reads or writes; none for what it changes on the way from
            the operation before.
    """

    name: str
    kind: Kind
    macs: int
    weight_values: int
    tensor_values: tuple[int, ...]


@dataclass(frozen=True)
class AttentionLowering:
    """How a converter lowers attention, which is one operation in the graph.

    Args:
        heads_apart: Whether each head has its own operations, as in Apple's `SPLIT_EINSUM`.
        queries_at_once: Longest piece that queries are cut into, as in `SPLIT_EINSUM_V2`; `None` if they are not cut.
    """

    heads_apart: bool = False
    queries_at_once: int | None = None


WHOLE = AttentionLowering()


def operations(
    module: nn.Module, inputs: Sequence[torch.Tensor], attention: AttentionLowering = WHOLE
) -> tuple[Operation, ...]:
    """The operations of one call in their order, without those that cost nothing.

    Args:
        module: Any module that `torch.export` takes, on any device; `meta` needs no memory.
        inputs: Its arguments, on the same device.
        attention: How attention is lowered. Its scores are written and read again in any case.

    Raises:
        RuntimeUnavailableError: The module cannot be exported, or has an unknown operation.
    """
    return tuple(_operations(_graph(module, inputs), attention))


def _graph(module: nn.Module, inputs: Sequence[torch.Tensor]) -> ExportedProgram:
    """A graph whose operations can be counted: as it is captured if it can be, which takes a third of the time."""
    program = captured(module, inputs, "a graph")
    if not all(_is_countable(node) for node in program.graph.nodes if node.op == "call_function"):
        return functional(program, module, "a graph")
    program.graph.eliminate_dead_code()
    return program


def _is_countable(node: Node) -> bool:
    """Whether an operation is of a known kind and changes no tensor in place: later operations read the old name."""
    target, name = node.target, _name(node)
    if target is operator.getitem:
        return True
    if not isinstance(target, OpOverload) or target._schema.is_mutable:
        return False
    known = name in _KINDS or name in (_ATTENTION, *_CONVOLUTIONS, *_TRANSPOSED)
    return known or torch.Tag.pointwise in target.tags


def _operations(program: ExportedProgram, attention: AttentionLowering) -> Iterator[Operation]:
    weights = _weights(program)
    for node in program.graph.nodes:
        if node.op != "call_function" or node.name in weights:
            continue
        if _name(node) == _ATTENTION:
            yield from _attention(node, attention)
        else:
            kind = _kind(node)
            if kind == "matmul" and not any(operand.name in weights for operand in _reads(node)):
                kind = "attention"
            if kind is not None:
                yield _operation(node, kind, weights)


def _weights(program: ExportedProgram) -> set[str]:
    """Names of values that are known before the first call: weights, and values computed from weights alone."""
    kinds = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
    known = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind in kinds}
    for node in program.graph.nodes:
        if node.op == "call_function" and all(read.name in known for read in _reads(node)):
            known.add(node.name)
    return known


def _kind(node: Node) -> Kind | None:
    """The kind of an operation; `None` if it costs nothing."""
    name = _name(node)
    if node.target is operator.getitem:
        return None
    if name in (*_CONVOLUTIONS, *_TRANSPOSED):
        return _convolution_kind(node)
    if name in _KINDS:
        return _KINDS[name]
    if torch.Tag.pointwise in getattr(node.target, "tags", ()):
        return "elementwise"
    hint = "write the module with other operations, or name its kind in nas/latency/estimating/operations.py"
    raise RuntimeUnavailableError(f"the cost of operation {node.target} is unknown", hint=hint)


def _convolution_kind(node: Node) -> Kind:
    # The converter makes a `conv3d` even of a kernel of one frame or one pixel.
    return "convolution_3d" if _values(_reads(node)[1])[0].dim() == 5 else "convolution"


def _operation(node: Node, kind: Kind, weights: set[str]) -> Operation:
    read = sorted(_numel(value) for value in _reads(node) if value.name not in weights)
    weight_values = sum(_numel(value) for value in _reads(node) if value.name in weights)
    written = tuple(value.numel() for value in _values(node))
    counted = Operation(_name(node), kind, _macs(node, kind), weight_values, (*read, *written))
    if kind in ("elementwise", "sinusoid"):
        return replace(counted, tensor_values=tuple(read[:-1]))
    if kind == "lookup":
        return replace(counted, weight_values=min(weight_values, sum(written)))
    return counted


def _attention(node: Node, lowering: AttentionLowering) -> Iterator[Operation]:
    """Scores, softmax and mix of queries (..., H, N, E) with keys (..., H, M, E) and values (..., H, M, F)."""
    query, key, value = (list(_values(operand)[0].shape) for operand in _reads(node)[:3])
    times = 1
    if lowering.heads_apart:
        times, query[-3], key[-3], value[-3] = query[-3], 1, 1, 1
    if lowering.queries_at_once is not None and query[-2] > lowering.queries_at_once:
        times *= math.ceil(query[-2] / lowering.queries_at_once)
        query[-2] = lowering.queries_at_once
    scores, mixed = math.prod(query[:-1]) * key[-2], math.prod(query[:-1]) * value[-1]
    for _ in range(times):
        reads = (math.prod(query), math.prod(key))
        yield Operation("scores", "attention", reads[0] * key[-2], 0, (*reads, scores))
        yield Operation("softmax", "reduction", 0, 0, (scores, scores))
        yield Operation("mix", "attention", scores * value[-1], 0, (scores, math.prod(value), mixed))


def _macs(node: Node, kind: Kind) -> int:
    name, shapes = _name(node), [value.shape for operand in _reads(node) for value in _values(operand)]
    if name in _CONVOLUTIONS:
        return _numel(node) * math.prod(shapes[1][1:])
    if name in _TRANSPOSED:
        return _numel(_reads(node)[0]) * math.prod(shapes[1][1:])
    if name == "einsum":
        return _einsum_macs(str(node.args[0]), shapes)
    if kind in ("matmul", "attention"):
        left = shapes[1] if name in {"addmm", "baddbmm"} else shapes[0]
        return _numel(node) * left[-1]
    return 0


def _einsum_macs(equation: str, shapes: Sequence[torch.Size]) -> int:
    """Multiply-accumulates: one for every combination of all indices, those that `...` stands for included."""
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, _, after = term.partition("...")
        unnamed = range(len(before) + len(after) - len(shape), 0)  # counted from the last one, as in broadcasting
        for index, size in zip([*before, *map(str, unnamed), *after], shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    return math.prod(sizes.values())


def _reads(node: Node) -> list[Node]:
    """The operands of a node, in the order of its arguments; one that is read twice is there twice."""
    operands: list[Node] = []
    map_arg((node.args, node.kwargs), operands.append)
    return operands


def _numel(node: Node) -> int:
    return sum(value.numel() for value in _values(node))


def _values(node: Node) -> list[torch.Tensor]:
    values = node.meta["val"]
    return [values] if isinstance(values, torch.Tensor) else [v for v in values if isinstance(v, torch.Tensor)]


def _name(node: Node) -> str:
    return str(getattr(node.target, "overloadpacket", node.target)).rpartition(".")[2]
