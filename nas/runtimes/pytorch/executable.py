"""Copies of modules that PyTorch executes, on the processor or on a GPU."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from nas.runtimes.base import Array, Executable
from nas.runtimes.memory import memory_errors
from nas.runtimes.pytorch.memory import peak_value_bytes, weight_bytes

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class TorchExecutable(Executable):
    """A copy of a module in evaluation mode, on the processor."""

    def __init__(self, module: nn.Module, threads: int) -> None:
        self._module = _copied(module, CPU)
        self._threads = threads

    def run(self, inputs: Sequence[Array]) -> Array:
        """Call the module once."""
        with memory_errors("run the module"), _threads(self._threads), torch.inference_mode():
            output: torch.Tensor = self._module(*map(torch.from_numpy, inputs))
        return output.numpy()

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """Make tensors of the inputs once, for all calls."""
        tensors = [torch.from_numpy(array) for array in inputs]

        def call() -> object:
            with _threads(self._threads), torch.inference_mode():
                return self._module(*tensors)

        return call

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int:
        """Measure a second call with torch's profiler."""
        call = self.bind(inputs)
        with memory_errors("profile the module"):
            call()  # a first call allocates more, and keeps it
            values = peak_value_bytes(call)
        return weight_bytes(self._module) + sum(array.nbytes for array in inputs) + values


class CudaExecutable(Executable):
    """A copy of a module in evaluation mode, on a GPU."""

    def __init__(self, module: nn.Module) -> None:
        self._module = _copied(module, GPU)

    def run(self, inputs: Sequence[Array]) -> Array:
        """Call the module once."""
        with memory_errors("run the module"), _full_precision(), torch.inference_mode():
            output: torch.Tensor = self._module(*_on_gpu(inputs))
            return output.cpu().numpy()

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """Copy the inputs to the GPU once; a call ends when the GPU has finished."""
        tensors = _on_gpu(inputs)

        def call() -> object:
            with _full_precision(), torch.inference_mode():
                made = self._module(*tensors)
            torch.cuda.synchronize()
            return made

        return call

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int:
        """Measure a second call with torch's allocator."""
        with memory_errors("run the module"):
            call = self.bind(inputs)
            call()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            call()
        values = torch.cuda.max_memory_allocated() - before
        return weight_bytes(self._module) + sum(array.nbytes for array in inputs) + values


def _copied(module: nn.Module, device: torch.device) -> nn.Module:
    return copy.deepcopy(module).to(device).eval().requires_grad_(False)


def _on_gpu(inputs: Sequence[Array]) -> list[torch.Tensor]:
    return [torch.from_numpy(array).to(GPU) for array in inputs]


def _full_precision() -> contextlib.AbstractContextManager[None]:
    """Convolutions in fp32, as the settings say: cuDNN would round what they multiply to ten bits."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


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
