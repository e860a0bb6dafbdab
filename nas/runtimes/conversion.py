"""What all conversions share: evaluation mode, silence, and the errors and atomic files of nas."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import RuntimeUnavailableError, StorageError
from nas.files import TEMPORARY_PREFIX, storage_errors, temporary_folder
from nas.runtimes.memory import memory_errors

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.export import ExportedProgram

_TRIED_BYTES = 2**20


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[nn.Module]:
    """Put a module in evaluation mode, without gradients, and give each part its own mode back."""
    import torch

    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield module
    finally:
        for part, training in modes.items():
            part.training = training


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Silence warnings, printing, progress bars and these loggers; errors still surface as exceptions."""
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in loggers}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        nothing = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def import_converter(module: str, needed: str, hint: str, loggers: Sequence[str]) -> Any:
    """Import the library of a converter without its warnings about other libraries' versions.

    Raises:
        RuntimeUnavailableError: It is not installed; the message says what is needed, and the hint how to get it.
    """
    with quiet(*loggers):
        try:
            return importlib.import_module(module)
        except ImportError as error:
            raise RuntimeUnavailableError(needed, hint=hint) from error


@contextlib.contextmanager
def conversion_errors(target: str, module: nn.Module) -> Iterator[None]:
    """Turn a converter's refusal, or its running out of memory, into one line that names the module."""
    try:
        with memory_errors(f"convert {type(module).__name__} to {target}"):
            yield
    # Converters raise whatever their parts raise; `staged` recognizes a problem of the disk.
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError, KeyError) as error:
        _check_temporary_folder()
        text = str(error).strip().partition("\n")[0]
        raise RuntimeUnavailableError(
            f"{type(module).__name__} cannot be converted to {target}: {text or type(error).__name__}"
        ) from error


def _check_temporary_folder() -> None:
    """Raise `StorageError` if the system's folder for temporary files is full or cannot be written.

    Converters write there, and report a full disk as an unknown error.
    """
    folder = Path(tempfile.gettempdir())
    with storage_errors(folder), tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX) as file:
        file.write(bytes(_TRIED_BYTES))


def captured(module: nn.Module, inputs: Sequence[torch.Tensor], target: str) -> ExportedProgram:
    """The graph of one call of a module in evaluation mode, in the operations that its code calls.

    Args:
        module: Any module that `torch.export` takes.
        inputs: Example arguments; they fix shapes and types.
        target: What the graph is for, for messages.

    Raises:
        RuntimeUnavailableError: It cannot be exported.
        OutOfMemoryError: There is too little memory for it.
    """
    import torch

    with evaluating(module), quiet("torch.export"), conversion_errors(target, module):
        return torch.export.export(module, tuple(inputs))


def exported(
    module: nn.Module,
    inputs: Sequence[torch.Tensor],
    target: str,
    decompositions: Mapping[Any, Callable[..., torch.Tensor]] | None = None,
) -> ExportedProgram:
    """The graph of one call of a module in evaluation mode, in the operations that converters know.

    Args:
        module: Any module that `torch.export` takes.
        inputs: Example arguments; they fix shapes and types.
        target: The format it is converted to, for messages.
        decompositions: Operators to replace, each with a function that computes the same.

    Raises:
        RuntimeUnavailableError: It cannot be exported.
        OutOfMemoryError: There is too little memory for it.
    """
    return functional(captured(module, inputs, target), module, target, decompositions)


def functional(
    program: ExportedProgram,
    module: nn.Module,
    target: str,
    decompositions: Mapping[Any, Callable[..., torch.Tensor]] | None = None,
) -> ExportedProgram:
    """A captured graph without operations that change a tensor in place; it takes longer than capturing.

    Arguments and errors are those of `exported`.
    """
    with evaluating(module), quiet("torch.export"), conversion_errors(target, module):
        made: ExportedProgram = program.run_decompositions(dict(decompositions or {}))
    return made


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a temporary folder; move it, and files beside it, to `path` on success.

    For formats whose files refer to each other by name, or that are folders. The named file is moved last.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent) as folder:
            try:
                yield folder / path.name
            except shutil.Error as error:  # copying a folder, for whatever reason; it has no errno
                raise StorageError(f"cannot be written: {error.args[0][0][2]}", where=path) from error
            _open_to_others(folder)
            for item in sorted(folder.iterdir(), key=lambda item: item.name == path.name):
                target = path.parent / item.name
                if target.is_dir():
                    shutil.rmtree(target)
                item.replace(target)


def _open_to_others(folder: Path) -> None:
    """Give files the permissions of any new file: converters leave some that only their owner can read."""
    plain = folder / "plain"
    plain.touch()
    mode = plain.stat().st_mode
    plain.unlink()
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(mode)
