"""What a runtime is: one way to execute a module, shared by profiling and export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nas.errors import RuntimeUnavailableError
from nas.runtimes.environment import cpu_model

Array = NDArray[Any]


@dataclass(frozen=True)
class RuntimeSettings:
    """What, beside the device, decides how fast a runtime is; it goes into a latency table's metadata.

    Args:
        runtime: Name of the runtime.
        precision: Type the arithmetic is done in, `fp32` or `fp16`.
        compute_unit: Where it runs: `cpu`, `gpu`, `neural_engine`, or `all` where the system chooses.
        threads: Processor threads; `None` where the runtime decides.
        opset: Set of operations converted to: an ONNX opset, a Core ML deployment target; `None` without one.
    """

    runtime: str
    precision: str
    compute_unit: str
    threads: int | None
    opset: str | None


class Executable(ABC):
    """A converted module, loaded and ready to be called."""

    @abstractmethod
    def run(self, inputs: Sequence[Array]) -> Array:
        """Call the module once.

        Args:
            inputs: The arguments in the order they had at conversion, in the same shapes; integers as int64.

        Returns:
            The module's one output.

        Raises:
            OutOfMemoryError: The call needs more memory than there is.
        """

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """A function that calls the module on these inputs, for timing.

        Whatever prepares inputs happens here, outside the returned function; its result has no meaning. Where
        memory runs out, the function raises what the runtime raises: call it within `nas.runtimes.memory_guard`.
        """
        return lambda: self.run(inputs)

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int | None:
        """Memory that the module takes at the peak of one call, as the runtime itself reports it.

        The sum of the weights as they are stored, the inputs, and the most memory in use at one time for what the
        call makes: values between operations, the output, and scratch memory that operations take from the
        runtime. It tells how modules compare and whether one can run at all. It is not the memory of the process:
        the runtime's own code, weights that it rearranges while loading, what it keeps in reserve for the next
        call, and what libraries below it take by themselves come on top.

        Calls and their timing are afterwards what they were before. While the figure is made, a runtime may hold
        the module twice, and read its file once more: ask while the file given to `Runtime.load`, or the folder
        given to `Runtime.prepare`, is there.

        Args:
            inputs: As for `run`.

        Returns:
            Bytes, more than zero, and the same for the same inputs; `None` where the runtime reports nothing.

        Raises:
            CheckpointError: The file is needed and no longer there.
            OutOfMemoryError: There is too little memory to find out.
        """
        return None


class Runtime(ABC):
    """One way to execute a torch module.

    The contract, which `nas.testing.RuntimeConformance` checks:

    - a module takes positional tensors of fixed shapes and returns one tensor; the executable computes what the
      module computes in evaluation mode, to the precision of the runtime;
    - the module comes back as it was: in its training mode, with its weights;
    - `convert` works wherever the converter can be installed; `unavailable_reason` says why `load` and
      `prepare` cannot work here, and they raise `RuntimeUnavailableError` with that reason and nothing else;
    - a file is written whole or not at all, and holds the weights, so that it can be moved to another machine;
    - where memory runs out, that is an `OutOfMemoryError` and no refusal of the module or the file;
      `nas.runtimes.memory_errors` recognizes what Python, torch and ONNX Runtime raise then;
    - equal `settings` on the same device mean latencies that may be compared.

    To add a runtime: subclass, and name it in the entry-point group `nas.runtimes` of your own package. Options
    are keyword arguments of the constructor.
    """

    name: ClassVar[str]
    suffix: ClassVar[str | None]
    """Suffix of the files `convert` writes; `None` for a runtime that has no files."""

    @property
    @abstractmethod
    def settings(self) -> RuntimeSettings:
        """What decides this runtime's latencies on a device."""

    @property
    def device(self) -> str:
        """Name of what executes here, for the metadata of measurements: this machine's processor."""
        return cpu_model()

    @abstractmethod
    def unavailable_reason(self) -> str | None:
        """Why nothing can be executed, hence measured, on this machine; `None` where it can."""

    @abstractmethod
    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> None:
        """Convert a module and write it to `path`, atomically.

        Args:
            module: What to convert.
            inputs: Example arguments; they fix shapes and types.
            input_names: Names of the arguments in the file.
            path: Where to write; ends in `suffix`.

        Raises:
            RuntimeUnavailableError: The converter is missing, refuses the module, or there is no file format.
            OutOfMemoryError: The conversion needs more memory than there is.
            StorageError: The file cannot be written.
        """

    @abstractmethod
    def load(self, path: Path) -> Executable:
        """Load what `convert` wrote.

        Raises:
            RuntimeUnavailableError: Nothing can be executed here.
            CheckpointError: The file is missing or damaged.
            OutOfMemoryError: The model needs more memory than there is.
        """

    def prepare(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], folder: Path
    ) -> Executable:
        """Make a module executable, by way of a file in `folder` where the runtime needs one; raises as both."""
        reason = self.unavailable_reason()
        if reason is not None:
            raise RuntimeUnavailableError(reason)
        path = folder / f"module{self.suffix or ''}"
        self.convert(module, inputs, input_names, path)
        return self.load(path)


def to_arrays(tensors: Sequence[torch.Tensor]) -> list[Array]:
    """Tensors as contiguous numpy arrays."""
    return [np.ascontiguousarray(tensor.detach().cpu().numpy()) for tensor in tensors]
