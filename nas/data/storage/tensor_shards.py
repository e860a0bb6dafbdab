"""Rows of tensors in safetensors shards with known digests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch

from nas.errors import DataError
from nas.files import file_digest


class TensorShards:
    """Reads single rows of shards. The digest of a shard is checked before its first use.

    Args:
        folder: Folder of the shards.
        digests: SHA-256 of each file.
        error: Makes the error for an unusable shard from the folder and the problem.
    """

    def __init__(self, folder: Path, digests: Mapping[str, str], error: Callable[[Path, str], DataError]) -> None:
        self.folder, self.digests, self.error = folder, digests, error
        self._trusted: set[str] = set()

    def row(self, file: str, tensor: str, row: int, shape: tuple[int, ...]) -> torch.Tensor:
        """One row of a tensor.

        Args:
            file: The shard.
            tensor: Name of the tensor in it.
            row: Number of the row.
            shape: The shape that it must have.

        Raises:
            DataError: The shard is missing or damaged, or belongs to other clips.
        """
        try:
            self._check(file)
            with safetensors.safe_open(self.folder / file, framework="pt") as shard:
                values: torch.Tensor = shard.get_slice(tensor)[row]
        except (OSError, safetensors.SafetensorError, IndexError) as problem:
            raise self.error(self.folder, f"shard {file} cannot be read: {problem}") from problem
        if tuple(values.shape) != shape:
            raise self.error(self.folder, f"shard {file} holds clips of another shape")
        return values

    def require_all(self) -> None:
        """Check that every shard exists; raise `DataError` for the first that is missing."""
        for file in self.digests:
            if not (self.folder / file).is_file():
                raise self.error(self.folder, f"shard {file} is missing")

    def _check(self, file: str) -> None:
        if file in self._trusted:
            return
        if file_digest(self.folder / file) != self.digests.get(file):
            raise self.error(self.folder, f"shard {file} is damaged")
        self._trusted.add(file)
