"""Weights of ONNX models as 8-bit integers, which the model itself turns into fp32 in each call (`DequantizeLinear`).

ONNX Runtime's `quantize_dynamic` also rounds what the weights are multiplied with to 8 bits, and its `MatMulNBits`
has no convolutions. So neither makes a network that differs in its weights alone, as on a phone.
"""

from __future__ import annotations

from onnxscript import ir

from nas.compression import weight_format
from nas.compression.arrays import compressible, int8

_CHANNELS_LAST = frozenset({"MatMul"})
_CHANNELS_SECOND = frozenset({"ConvTranspose"})


def store_int8(model: ir.Model) -> None:
    """Store the larger weights of a model as integers, with a scale for each output channel.

    They are those of `nas.compression.compress_module`, except that their products with the scales are not rounded to
    fp16.

    Args:
        model: The model, which is changed.

    Raises:
        CheckpointError: A weight is not finite, or too large for fp16.
    """
    form = weight_format("int8")
    for weight in list(model.graph.initializers.values()):
        tensor = weight.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and form.compresses(tensor.shape.numpy()):
            _replace(model.graph, weight, tensor)


def _replace(graph: ir.Graph, weight: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Let the users of a weight read what a new first node of the graph computes from integers and scales."""
    values = tensor.numpy()
    axis = _channel_axis(weight) % values.ndim
    integers, scales = int8(compressible(values), axis)
    constants = [
        _constant(graph, f"{weight.name}_int8", ir.tensor(integers)),
        _constant(graph, f"{weight.name}_scales", ir.tensor(scales.ravel().astype("float32"))),
    ]
    node = ir.node("DequantizeLinear", constants, {"axis": axis}, name=f"{weight.name}_restored")
    ir.convenience.replace_all_uses_with(weight, node.outputs[0])
    node.outputs[0].type, node.outputs[0].shape = weight.type, weight.shape
    graph.insert_before(graph[0], node)
    del graph.initializers[str(weight.name)]


def _constant(graph: ir.Graph, name: str, tensor: ir.TensorProtocol) -> ir.Value:
    value = ir.val(name, const_value=tensor)
    graph.register_initializer(value)
    return value


def _channel_axis(weight: ir.Value) -> int:
    """The axis of output channels in the first operation that reads a weight."""
    user = next((use.node for use in weight.uses()), None)
    if user is None:
        return 0
    if user.op_type in _CHANNELS_LAST:
        return -1
    transposed = user.op_type == "Gemm" and not user.attributes.get_int("transB", 0)
    return int(user.op_type in _CHANNELS_SECOND or transposed)
