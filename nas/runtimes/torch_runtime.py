"""PyTorch itself, in memory: no file, no conversion."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NoReturn, get_args

import torch
from torch import nn

from nas.errors import ConfigError, RuntimeUnavailableError
from nas.runtimes.base import Array, Executable, Runtime, RuntimeSettings
from nas.runtimes.memory import memory_errors
from nas.runtimes.torch_memory import peak_value_bytes, weight_bytes

ComputeUnit = Literal["cpu", "gpu"]

CPU, CARD = torch.device("cpu"), torch.device("cuda")


class TorchExecutable(Executable):
    """A copy of a module in evaluation mode, on the processor."""

    def __init__(self, module: nn.Module, threads: int) -> None:
        self._module = _copied(module, CPU)
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


class CardExecutable(Executable):
    """A copy of a module in evaluation mode, on a graphics card."""

    def __init__(self, module: nn.Module) -> None:
        self._module = _copied(module, CARD)

    def run(self, inputs: Sequence[Array]) -> Array:
        """See `Executable.run`."""
        with memory_errors("run the module"), _full_precision(), torch.inference_mode():
            output: torch.Tensor = self._module(*_on_card(inputs))
            return output.cpu().numpy()

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """See `Executable.bind`: the inputs are on the card, and a call ends when the card has."""
        tensors = _on_card(inputs)

        def call() -> object:
            with _full_precision(), torch.inference_mode():
                made = self._module(*tensors)
            torch.cuda.synchronize()
            return made

        return call

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int:
        """See `Executable.peak_memory_bytes`: from torch's allocator, of a second call."""
        with memory_errors("run the module"):
            call = self.bind(inputs)
            call()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            call()
        values = torch.cuda.max_memory_allocated() - before
        return weight_bytes(self._module) + sum(array.nbytes for array in inputs) + values


class TorchRuntime(Runtime):
    """PyTorch in eager mode, on the processor or on a graphics card of CUDA.

    Args:
        threads: Processor threads; without meaning on a graphics card, which one thread feeds.
        compute_unit: `cpu` or `gpu`.

    Raises:
        ConfigError: The compute unit is unknown, or threads are asked of a graphics card.
    """

    name = "torch"
    suffix = None

    def __init__(self, threads: int | None = None, compute_unit: ComputeUnit = "cpu") -> None:
        if compute_unit not in get_args(ComputeUnit):
            known = ", ".join(get_args(ComputeUnit))
            raise ConfigError(f"compute_unit {compute_unit!r} is unknown (known: {known})", where="runtime torch")
        if compute_unit == "gpu" and threads is not None:
            hint = "leave threads out, or measure on the processor"
            raise ConfigError("threads mean nothing to a graphics card", where="runtime torch", hint=hint)
        self.compute_unit = compute_unit
        self.threads = threads if compute_unit == "gpu" else threads or 1

    @property
    def settings(self) -> RuntimeSettings:
        """See `Runtime.settings`."""
        return RuntimeSettings(self.name, "fp32", self.compute_unit, self.threads, None)

    @property
    def device(self) -> str:
        """See `Runtime.device`."""
        card = self.compute_unit == "gpu" and self.unavailable_reason() is None
        return torch.cuda.get_device_name() if card else super().device

    def unavailable_reason(self) -> str | None:
        """See `Runtime.unavailable_reason`: PyTorch runs wherever nas does, on a card where it sees one."""
        if self.compute_unit == "gpu" and not torch.cuda.is_available():
            return "PyTorch sees no graphics card of CUDA"
        return None

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> NoReturn:
        """Raise `RuntimeUnavailableError`: PyTorch's own formats can hold code that runs when they are loaded."""
        raise _no_files()

    def load(self, path: Path) -> NoReturn:
        """Raise `RuntimeUnavailableError`, as `convert` does."""
        reason = self.unavailable_reason()
        raise _no_files() if reason is None else RuntimeUnavailableError(reason)

    def prepare(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], folder: Path
    ) -> Executable:
        """See `Runtime.prepare`; nothing is written."""
        reason = self.unavailable_reason()
        if reason is not None:
            raise RuntimeUnavailableError(reason)
        with memory_errors(f"copy {type(module).__name__}"):
            return CardExecutable(module) if self.threads is None else TorchExecutable(module, self.threads)


def _copied(module: nn.Module, device: torch.device) -> nn.Module:
    return copy.deepcopy(module).to(device).eval().requires_grad_(False)


def _on_card(inputs: Sequence[Array]) -> list[torch.Tensor]:
    return [torch.from_numpy(array).to(CARD) for array in inputs]


def _full_precision() -> contextlib.AbstractContextManager[None]:
    """Convolutions in fp32, as the settings say: cuDNN would round what they multiply to ten bits."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


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
