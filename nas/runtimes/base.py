"""What a runtime is: one way to execute a module, shared by profiling and export."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nas.compression import CompressedKind
from nas.errors import RuntimeUnavailableError
from nas.files import StrictModel
from nas.runtimes.environment import cpu_model
from nas.runtimes.signature import Signature

if TYPE_CHECKING:
    import torch
    from torch import nn

Array = NDArray[Any]

OptionValue = bool | int | float | str | None

Threads = Annotated[int, Field(ge=1, le=1024)]
"""Number of processor threads, as a field of a runtime's `Config`."""


@dataclass(frozen=True)
class RuntimeSettings:
    """What decides how fast a runtime is on a given device; it is written to a latency table's metadata.

    Args:
        runtime: Name of the runtime.
        precision: Type the arithmetic is done in, `fp32` or `fp16`.
        compute_unit: Where it runs: `cpu`, `gpu`, or one of Core ML's sets of units.
        threads: Processor threads; `None` if the runtime decides.
        opset: Version of the operations that modules are converted to, e.g. an ONNX opset; `None` without one.
        options: Other options that decide latencies, by their names in the runtime's `Config`. `weights` is the kind of
            compressed weights, see `nas.compression`.
    """

    runtime: str
    precision: str
    compute_unit: str
    threads: int | None
    opset: str | None
    options: Mapping[str, OptionValue] = field(default_factory=dict, hash=False)

    @property
    def weights(self) -> str:
        """The kind of weights; if they are not compressed, that of the arithmetic."""
        return str(self.options.get("weights", self.precision))


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

    def run_all(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Call a module that returns several tensors once; arguments and errors as of `run`.

        A runtime that converts such modules overrides it.
        """
        return (self.run(inputs),)

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """A function that calls the module on these inputs, for timing.

        Inputs are prepared here, outside the returned function. Its result has no meaning. If memory runs out, it
        raises what the library below raises: call it within `nas.runtimes.memory_guard`.
        """
        return lambda: self.run(inputs)

    def peak_memory_bytes(self, inputs: Sequence[Array]) -> int | None:
        """Memory that the module takes at the peak of one call, as the runtime itself reports it.

        It is the sum of the weights as stored, the inputs, and the peak of the memory that the call allocates:
        values between operations, the output, and scratch memory. Use it to compare modules, and to see whether one
        can run at all. It is not the memory of the process, which also holds the runtime's code, weights rearranged
        while loading, reserves for the next call, and allocations of libraries that the runtime does not count.

        Later calls, and their timing, do not change. While it measures, a runtime may hold the module twice and
        read its file once more. So the file given to `Runtime.load`, or the folder given to `Runtime.prepare`, must
        still exist.

        Args:
            inputs: As for `run`.

        Returns:
            Bytes, more than zero, and the same for the same inputs; `None` if the runtime reports nothing.

        Raises:
            CheckpointError: The file is needed and no longer exists.
            OutOfMemoryError: There is too little memory to measure it.
        """
        return None


class Runtime(ABC):
    """One way to execute a torch module.

    The contract, which `nas.testing.RuntimeConformance` checks:

    - a module takes positional tensors of fixed shapes and returns one tensor; the executable computes what the
      module computes in evaluation mode, to the precision of the runtime;
    - a module with several outputs has their names in its attribute `output_names`. A runtime that writes files
      converts it, under these names, and `Executable.run_all` returns them; one output is named `output`;
    - the module is returned unchanged: in its training mode, with its weights;
    - `convert` works on every platform that the converter can be installed on; `unavailable_reason` says why `load`
      and `prepare` cannot work here, and then they raise `RuntimeUnavailableError` with that reason and nothing else;
    - `unmeasurable_reason` says why the time of a call means nothing here: nothing can be executed, or a stand-in such
      as an interpreter executes it, which computes the same and says nothing about a device. Outputs are compared with
      torch's wherever a runtime executes; latencies are taken only where it can be measured, too;
    - a file is written completely or not at all, and holds the weights, so that it can be moved to another machine;
    - if memory runs out, the error is an `OutOfMemoryError`, not a refusal of the module or the file;
      `nas.runtimes.memory_errors` recognizes what Python, torch and ONNX Runtime raise then;
    - equal `settings` on the same device mean latencies that may be compared, and `options` turns settings back into
      the options that made them.

    To add a runtime: subclass, declare its options in a nested `Config` whose fields all have defaults, and name the
    class in the entry-point group `nas.runtimes` of your own package. A runtime is built from its config alone, so a
    subclass needs no constructor. Its options are then those of `nas profile --runtime-option key=value`, of
    `profile: options:` in a run's file, and of `get_runtime`.

    Args:
        config: The options; all defaults if left out.
    """

    name: ClassVar[str]
    suffix: ClassVar[str | None]
    """Suffix of the files `convert` writes; `None` for a runtime without files."""

    Config: ClassVar[type[StrictModel]] = StrictModel
    """The options of the runtime; a runtime without options leaves it out."""

    weight_kinds: ClassVar[tuple[CompressedKind, ...]] = ()
    """The kinds of compressed weights that it stores, see `nas.compression`; its option `weights` then takes them."""

    config: StrictModel

    def __init__(self, config: StrictModel | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def options(cls, settings: RuntimeSettings) -> dict[str, Any]:
        """The options that build a runtime of these settings, which record each under its own name.

        Override it if an option is recorded under another name, or as another type.
        """
        recorded = {**dataclasses.asdict(settings), **settings.options}
        return {name: recorded[name] for name in cls.Config.model_fields if name in recorded}

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
        """Why nothing can be executed on this machine; `None` if it can."""

    def unmeasurable_reason(self) -> str | None:
        """Why no latency can be measured on this machine; `None` if it can.

        What executes can be measured, unless a runtime says otherwise. Override it if what executes here is not what
        executes on a device, and begin with `unavailable_reason`.
        """
        return self.unavailable_reason()

    def require_available(self) -> None:
        """Raise `RuntimeUnavailableError` with the reason if nothing can be executed on this machine."""
        reason = self.unavailable_reason()
        if reason is not None:
            raise RuntimeUnavailableError(reason)

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

    def signature(self, path: Path) -> Signature | None:
        """Inputs and outputs of what `convert` wrote, as the file says; `None` if the runtime cannot tell.

        It works wherever `convert` does.
        """
        return None

    def prepare(
        self, module: nn.Module, inputs: Sequence[torch.Tensor], input_names: Sequence[str], folder: Path
    ) -> Executable:
        """Make a module executable, through a file in `folder` if the runtime has files.

        Raises:
            RuntimeUnavailableError: Nothing can be executed here, or the converter refuses the module.
            OutOfMemoryError: There is too little memory.
        """
        self.require_available()
        path = folder / f"module{self.suffix or ''}"
        self.convert(module, inputs, input_names, path)
        return self.load(path)


def output_names(module: nn.Module) -> tuple[str, ...]:
    """Names of what a module returns."""
    names: tuple[str, ...] = getattr(module, "output_names", ("output",))
    return names


def to_arrays(tensors: Sequence[torch.Tensor]) -> list[Array]:
    """Tensors as contiguous numpy arrays."""
    return [np.ascontiguousarray(tensor.detach().cpu().numpy()) for tensor in tensors]
