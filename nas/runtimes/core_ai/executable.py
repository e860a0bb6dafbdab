"""A Core AI asset, loaded and ready to be called.

On macOS 27 and later the system executes it. Anywhere else the interpreter that coreai-core brings does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nas.errors import CheckpointError
from nas.runtimes.base import Array, Executable
from nas.runtimes.core_ai.event_loop import submit, wait
from nas.runtimes.memory import memory_errors

ComputeUnit = Literal["all", "cpu_only", "prefer_gpu", "prefer_ne"]

FUNCTION = "main"
"""Name of the one function of an asset."""

_PROGRAM, _DIGEST = "main.mlirb", "main.hash"
_STDERR = 2


class CoreAIExecutable(Executable):
    """The function of an asset.

    Args:
        path: The asset.
        compute_unit: Where the system may run it; the interpreter has no choice.

    Raises:
        CheckpointError: The asset is missing or damaged.
        OutOfMemoryError: It needs more memory than there is.
    """

    def __init__(self, path: Path, compute_unit: ComputeUnit) -> None:
        _check(path)
        scope = contextlib.AsyncExitStack()
        with memory_errors(f"load {path}"):
            try:
                self._function = wait(_load(scope, path, compute_unit))
            except RuntimeError as error:
                line = str(error).strip().partition("\n")[0]
                raise CheckpointError(f"not a valid Core AI asset: {line}", where=path) from error
        # Not waited for: the collector may run in any thread, that of the event loop included.
        weakref.finalize(self, lambda: submit(scope.aclose()))

    def run(self, inputs: Sequence[Array]) -> Array:
        """Call the function once; numbers are converted to the types that it takes."""
        return self.run_all(inputs)[0]

    def run_all(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Call the function once; numbers are converted to the types that it takes."""
        with memory_errors("run the model"):
            made = wait(self._call(self._named(inputs)))
            return tuple(np.array(made[name].numpy()) for name in self._function.desc.output_names)

    def bind(self, inputs: Sequence[Array]) -> Callable[[], object]:
        """Convert inputs once, for all calls."""
        named = self._named(inputs)
        return lambda: wait(self._call(named))

    async def _call(self, named: dict[str, Any]) -> Any:
        return await self._function(named)

    def _named(self, inputs: Sequence[Array]) -> dict[str, Any]:
        from coreai.runtime import NDArray

        taken = self._function.desc
        return {
            name: NDArray(np.ascontiguousarray(array, dtype=taken.input_descriptor(name).dtype))
            for name, array in zip(taken.input_names, inputs, strict=True)
        }


async def _load(scope: contextlib.AsyncExitStack, path: Path, compute_unit: ComputeUnit) -> Any:
    """The function of an asset, whose resources the scope holds."""
    from coreai.authoring import AIModelAsset

    asset = AIModelAsset.load(path)
    model = await scope.enter_async_context(asset.executable(_specialization(compute_unit)))
    with _silent():
        return model.load_function(FUNCTION)


def _specialization(compute_unit: ComputeUnit) -> Any:
    """What the system is asked for; `None` where an interpreter executes."""
    from coreai import runtime

    options = runtime.SpecializationOptions
    if not options.is_supported():
        return None
    if compute_unit == "all":  # pragma: no cover - macOS only
        return options.default()
    if compute_unit == "cpu_only":  # pragma: no cover - macOS only
        return options.cpu_only()
    kinds = runtime.ComputeUnitKind  # pragma: no cover - macOS only
    preferred = kinds.gpu() if compute_unit == "prefer_gpu" else kinds.neural_engine()  # pragma: no cover - macOS only
    return options.from_preferred_compute_unit_kind(preferred)  # pragma: no cover - macOS only


def _check(path: Path) -> None:
    """Raise `CheckpointError` if an asset is not whole: the library would end the process."""
    if not path.is_dir():
        raise CheckpointError("no such Core AI asset" if not path.exists() else "not a Core AI asset", where=path)
    program, digest = path / _PROGRAM, path / _DIGEST
    if not (program.is_file() and digest.is_file()):
        raise CheckpointError(f"not a Core AI asset: it has no {_PROGRAM} with {_DIGEST}", where=path)
    with program.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != digest.read_bytes():
            raise CheckpointError(f"damaged: {_PROGRAM} is not the file that {_DIGEST} describes", where=path)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence what native code writes to the standard error, which `nas.runtimes.conversion.quiet` does not see."""
    kept = os.dup(_STDERR)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
