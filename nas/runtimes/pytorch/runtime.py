"""PyTorch itself, in memory: no file, no conversion.

torch is imported when it is used: reading the options of the runtime does not need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from pydantic import model_validator

from nas.errors import RuntimeUnavailableError
from nas.files import StrictModel
from nas.runtimes.base import Executable, Runtime, RuntimeSettings, Threads
from nas.runtimes.memory import memory_errors

if TYPE_CHECKING:
    import torch
    from torch import nn


class TorchRuntime(Runtime):
    """PyTorch in eager mode, on the processor or on a CUDA GPU."""

    name = "torch"
    suffix = None

    class Config(StrictModel):
        """Options of PyTorch.

        Args:
            threads: Processor threads, 1 if left out; not for a GPU, which is fed by one thread.
            compute_unit: `cpu` or `gpu`.
        """

        threads: Threads | None = None
        compute_unit: Literal["cpu", "gpu"] = "cpu"

        @model_validator(mode="after")
        def _no_threads_on_gpu(self) -> Self:
            if self.compute_unit == "gpu" and self.threads is not None:
                raise ValueError("threads have no meaning on a GPU: leave them out, or measure on the processor")
            return self

    config: Config

    @property
    def settings(self) -> RuntimeSettings:
        """Threads and compute unit decide the latencies."""
        threads = None if self._on_gpu else self.config.threads or 1
        return RuntimeSettings(self.name, "fp32", self.config.compute_unit, threads, None)

    @property
    def device(self) -> str:
        """Name of the GPU, if there is one and it is asked for, else of the processor."""
        if not self._on_gpu or self.unavailable_reason() is not None:
            return super().device
        import torch

        return torch.cuda.get_device_name()

    @property
    def _on_gpu(self) -> bool:
        return self.config.compute_unit == "gpu"

    def unavailable_reason(self) -> str | None:
        """PyTorch always runs on the processor; a GPU must be visible to it."""
        if not self._on_gpu:
            return None
        import torch

        return None if torch.cuda.is_available() else "PyTorch sees no CUDA GPU"

    def convert(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], path: Path
    ) -> NoReturn:
        """Raise `RuntimeUnavailableError`: PyTorch's own formats can hold code that runs when they are loaded."""
        raise _no_files()

    def load(self, path: Path) -> NoReturn:
        """Raise `RuntimeUnavailableError`, as `convert` does."""
        self.require_available()
        raise _no_files()

    def prepare(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], folder: Path
    ) -> Executable:
        """Copy the module; nothing is written."""
        self.require_available()
        from nas.runtimes.pytorch.executable import CudaExecutable, TorchExecutable

        with memory_errors(f"copy {type(module).__name__}"):
            threads = self.settings.threads
            return CudaExecutable(module) if threads is None else TorchExecutable(module, threads)


def _no_files() -> RuntimeUnavailableError:
    hint = "convert for onnxruntime or coreml; weights are saved as safetensors"
    return RuntimeUnavailableError("the torch runtime works in memory and has no files", hint=hint)
