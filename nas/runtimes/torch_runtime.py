"""PyTorch itself, in memory: no file, no conversion."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from nas.errors import RuntimeUnavailableError
from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings
from nas.runtimes.memory import memory_errors
from nas.runtimes.torch_memory import peak_value_bytes, weight_bytes


class TorchExecutable(Executable):
    """A copy of a module in evaluation mode."""

    def __init__(self, module: nn.Module, threads: int) -> None:
        self._module = copy.deepcopy(module).cpu().eval().requires_grad_(False)
        self._threads = threads

    def run(self, inputs: Sequence[Array]) -> Array:
        """See `Executable.run`."""
        with memory_errors("run the module"), _threads(self._threads), torch.inference_mode():
            output: torch.Tensor = self._module(*map(torch.from_numpy, inputs))
        return output.numpy()

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """See `Executable.bind`."""
        tensors = [torch.from_numpy(array) for array in inputs]

        def call() -> object:
            with _threads(self._threads), torch.inference_mode():
                return self._module(*tensors)

        return call

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int:
        """See `Executable.peak_memory_bytes`: from torch's profiler, of a second call."""
        call = self.bind(inputs)
        with memory_errors("profile the module"):
            call()  # what only a first call allocates, and keeps, is no part of the figure
            values = peak_value_bytes(call)
        return weight_bytes(self._module) + sum(array.nbytes for array in inputs) + values


class TorchRuntime(Runtime):
    """PyTorch in eager mode on the processor.

    Args:
        threads: Processor threads.
    """

    name = "torch"
    suffix = None

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    @property
    def settings(self) -> RuntimeSettings:
        """See `Runtime.settings`."""
        return RuntimeSettings(self.name, "fp32", "cpu", self.threads, None)

    def unavailable_reason(self) -> str | None:
        """See `Runtime.unavailable_reason`: PyTorch runs wherever nas does."""
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> NoReturn:
        """Raise `RuntimeUnavailableError`: PyTorch's own formats can hold code that runs when they are loaded."""
        raise _no_files()

    def load(self, path: Path) -> NoReturn:
        """Raise `RuntimeUnavailableError`, as `convert` does."""
        raise _no_files()

    def prepare(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], folder: Path
    ) -> Executable:
        """See `Runtime.prepare`; nothing is written."""
        with memory_errors(f"copy {type(module).__name__}"):
            return TorchExecutable(module, self.threads)


def _no_files() -> RuntimeUnavailableError:
    hint = "convert for onnxruntime or coreml; weights are saved as safetensors"
    return RuntimeUnavailableError("the torch runtime works in memory and has no files", hint=hint)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if before == number:
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
