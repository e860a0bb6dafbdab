"""ONNX Runtime on the processor.

torch and ONNX Runtime are imported when they are used: reading the options of the runtime needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from nas.compression import compressed_kind
from nas.files import StrictModel
from nas.runtimes.base import Executable, Runtime, RuntimeSettings, Threads, output_names
from nas.runtimes.conversion import conversion_errors, evaluating, quiet, staged
from nas.runtimes.signature import Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

EMBEDDED_BYTES = 1_500_000_000
"""Above this the weights go into a file beside the model: a protobuf message ends at 2 GiB."""

_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


class OnnxRuntime(Runtime):
    """ONNX Runtime on the processor, in fp32."""

    name = "onnxruntime"
    suffix = ".onnx"
    weight_kinds = ("int8",)

    class Config(StrictModel):
        """Options of ONNX Runtime.

        Args:
            threads: Processor threads within an operation.
            opset: ONNX opset to convert to.
            weights: Kind of weights, see `nas.compression`. `int8` weights become fp32 in each call.
        """

        threads: Threads = 1
        opset: Annotated[int, Field(ge=1)] = 20
        weights: Literal["fp32", "int8"] = "fp32"

    config: Config

    @classmethod
    def options(cls, settings: RuntimeSettings) -> dict[str, Any]:
        """The options of recorded settings, in which the opset is text."""
        return super().options(settings) | {"opset": int(settings.opset or cls.Config().opset)}

    @property
    def settings(self) -> RuntimeSettings:
        """Threads, opset and compressed weights decide the latencies."""
        config, kind = self.config, compressed_kind(self.config.weights)
        options = {} if kind is None else {"weights": kind}
        return RuntimeSettings(self.name, "fp32", "cpu", config.threads, str(config.opset), options)

    def unavailable_reason(self) -> str | None:
        """Nothing: nas depends on ONNX Runtime, so it is always installed."""
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        """Write an ONNX file; weights above `EMBEDDED_BYTES` go into a second file, `path` + `.data`."""
        import torch

        with evaluating(module), quiet(*_LOGGERS), conversion_errors("ONNX", module):
            program = torch.onnx.export(
                module,
                tuple(inputs),
                input_names=list(input_names),
                output_names=list(output_names(module)),
                opset_version=self.config.opset,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        _forget_source(program)
        if self.config.weights == "int8":
            from nas.runtimes.onnx.weights import store_int8

            store_int8(program.model)
        size_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
        with staged(path) as temporary, conversion_errors("ONNX", module):
            program.save(temporary, external_data=size_bytes > EMBEDDED_BYTES)

    def signature(self, path: Path) -> Signature:
        """Read the graph's inputs and outputs, without the weights."""
        from nas.runtimes.onnx.signature import read_signature

        return read_signature(path)

    def load(self, path: Path) -> Executable:
        """Open a session on an ONNX file."""
        from nas.runtimes.onnx.executable import OnnxExecutable

        return OnnxExecutable(path, self.config.threads)


def _forget_source(program: torch.onnx.ONNXProgram) -> None:
    """Remove the stack traces that the exporter leaves at every node: long, and they name the user's folders."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
