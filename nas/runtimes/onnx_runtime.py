"""ONNX Runtime on the processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnxruntime
import torch
from torch import nn

from nas.errors import CheckpointError
from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings
from nas.runtimes.conversion import conversion_errors, evaluating, quiet, staged
from nas.runtimes.memory import memory_errors
from nas.runtimes.onnx_memory import peak_value_bytes, profiling, weight_bytes

EMBEDDED_BYTES = 1_500_000_000
"""Above this the weights go into a file beside the model: a protobuf message ends at 2 GiB."""

_SILENT = 4
_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


class OnnxExecutable(Executable):
    """An inference session.

    Args:
        path: The model.
        options: Makes the options of a session.

    Raises:
        CheckpointError: The file is missing or damaged.
        OutOfMemoryError: The model needs more memory than there is.
    """

    def __init__(self, path: Path, options: Callable[[], onnxruntime.SessionOptions]) -> None:
        self._path, self._options = path.absolute(), options
        self._session = _session(path, options())
        self._names = [item.name for item in self._session.get_inputs()]

    def run(self, inputs: Sequence[Array]) -> Array:
        """See `Executable.run`."""
        return self._run(self._session, inputs)

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """See `Executable.bind`; input and output buffers are bound once."""
        binding = self._session.io_binding()
        for name, array in zip(self._names, inputs, strict=True):
            binding.bind_cpu_input(name, array)
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cpu")
        return lambda: self._session.run_with_iobinding(binding)

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int | None:
        """See `Executable.peak_memory_bytes`: from the profile of one call, made in a session of its own."""
        with memory_errors(f"profile {self._path}"), profiling(self._options()) as options:
            session = _session(self._path, options)
            self._run(session, inputs)
            values = peak_value_bytes(Path(session.end_profiling()))
            del session
            given = sum(array.nbytes for array in inputs)
            return None if values is None else weight_bytes(self._path) + given + values

    def _run(self, session: onnxruntime.InferenceSession, inputs: Sequence[Array]) -> Array:
        with memory_errors("run the model"):
            output: Array = session.run(None, dict(zip(self._names, inputs, strict=True)))[0]
        return output


class OnnxRuntime(Runtime):
    """ONNX Runtime on the processor, in fp32.

    Args:
        threads: Processor threads within an operation.
        opset: ONNX opset to convert to.
    """

    name = "onnxruntime"
    suffix = ".onnx"

    def __init__(self, threads: int = 1, opset: int | str = 20) -> None:
        self.threads = threads
        self.opset = int(opset)

    @property
    def settings(self) -> RuntimeSettings:
        """See `Runtime.settings`."""
        return RuntimeSettings(self.name, "fp32", "cpu", self.threads, str(self.opset))

    def unavailable_reason(self) -> str | None:
        """See `Runtime.unavailable_reason`: ONNX Runtime is a dependency of nas."""
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        """See `Runtime.convert`; weights above `EMBEDDED_BYTES` go into a second file, `path` + `.data`."""
        with evaluating(module), quiet(*_LOGGERS), conversion_errors("ONNX", module):
            program = torch.onnx.export(
                module,
                tuple(inputs),
                input_names=list(input_names),
                output_names=["output"],
                opset_version=self.opset,
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        _forget_source(program)
        size_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
        with staged(path) as temporary, conversion_errors("ONNX", module):
            program.save(temporary, external_data=size_bytes > EMBEDDED_BYTES)

    def load(self, path: Path) -> Executable:
        """See `Runtime.load`."""
        return OnnxExecutable(path, self._options)

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT  # errors are raised; there is no need to write them to the screen too
        # The threads of one session must not spin while another is measured.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options


def _session(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise CheckpointError("no such file", where=path)
    try:
        with memory_errors(f"load {path}"):
            return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime."):
            raise CheckpointError(f"not a valid ONNX model: {error}", where=path) from error
        raise


def _forget_source(program: torch.onnx.ONNXProgram) -> None:
    """Remove the stack traces that the exporter leaves at every node: long, and they name the user's folders."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
