"""Networks as TorchScript files: the format in which I3D and other networks of video metrics are published.

Such a file holds weights and a program of tensor operators, and no Python. It is still a program: take it from a source
that you trust.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from nas.errors import CheckpointError
from nas.models.foreign import foreign_errors


def is_script(path: str | Path) -> bool:
    """Whether a file is TorchScript: a zip archive with code, which a state dict does not have."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def load_script(path: str | Path) -> Any:
    """Load a TorchScript file to the CPU.

    Raises:
        CheckpointError: There is no such file, or it is something else.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError("no such file", where=file)
    if not is_script(file):
        raise CheckpointError("is not a TorchScript file", where=file, hint="save it with torch.jit.save")
    with foreign_errors("cannot be loaded", CheckpointError, file), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript's own: published files are in this format
        return torch.jit.load(file, map_location="cpu").eval()  # type: ignore[no-untyped-call]


def call_script(script: Any, where: str | Path, *arguments: torch.Tensor, **options: Any) -> torch.Tensor:
    """Call a network and return the tensor that it returns.

    Options that its `forward` does not have are left out.

    Raises:
        CheckpointError: It fails, or returns something else; the message names the file.
    """
    known = {argument.name for argument in script.forward.schema.arguments}
    given = {name: value for name, value in options.items() if name in known}
    with foreign_errors("the network fails", CheckpointError, where), torch.no_grad():
        result = script(*arguments, **given)
    if not isinstance(result, torch.Tensor):
        raise CheckpointError(f"returns a {type(result).__name__}, expected a tensor", where=where)
    return result.float()
