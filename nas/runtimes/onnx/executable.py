"""An ONNX model in a session of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnxruntime

from nas.errors import CheckpointError
from nas.runtimes.base import Array, Executable
from nas.runtimes.memory import memory_errors
from nas.runtimes.onnx.memory import peak_value_bytes, profiling, weight_bytes

_SILENT = 4


class OnnxExecutable(Executable):
    """An inference session.

    Args:
        path: The model.
        threads: Processor threads within an operation.

    Raises:
        CheckpointError: The file is missing or damaged.
        OutOfMemoryError: The model needs more memory than there is.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path.absolute(), threads
        self._session = _session(path, _options(threads))
        self._names = [item.name for item in self._session.get_inputs()]

    def run(self, inputs: Sequence[Array]) -> Array:
        """Call the session once."""
        return self.run_all(inputs)[0]

    def run_all(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Call the session once."""
        return self._run(self._session, inputs)

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """Bind input and output buffers once, for all calls."""
        binding = self._session.io_binding()
        for name, array in zip(self._names, inputs, strict=True):
            binding.bind_cpu_input(name, array)
        for output in self._session.get_outputs():
            binding.bind_output(output.name, "cpu")
        return lambda: self._session.run_with_iobinding(binding)

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int | None:
        """Read the peak off the profile of one call, made in a separate session."""
        with memory_errors(f"profile {self._path}"), profiling(_options(self._threads)) as options:
            session = _session(self._path, options)
            self._run(session, inputs)
            values = peak_value_bytes(Path(session.end_profiling()))
            del session
            given = sum(array.nbytes for array in inputs)
            return None if values is None else weight_bytes(self._path) + given + values

    def _run(self, session: onnxruntime.InferenceSession, inputs: Sequence[Array]) -> tuple[Array, ...]:
        with memory_errors("run the model"):
            return tuple(session.run(None, dict(zip(self._names, inputs, strict=True))))


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT  # errors are raised; there is no need to write them to the screen too
    # The threads of one session must not spin while another is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Where weights are int8, everything else stays in fp32; ONNX Runtime would compute in int8 there.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
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
