"""Tensors in safetensors files, whole or in shards. A shard holds the rows of one process.

The shards of a tensor, in the order of their files, are the whole tensor along its first dimension. So any number of
processes can read what any other number has written, and each reads only its own rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch.distributed.tensor import DTensor

from nas.errors import CheckpointError
from nas.files import file_digest
from nas.models.weights import save_safetensors
from nas.training.engine.parallelism import as_shard
from nas.training.engine.processes import processes


def write_shard(folder: Path, part: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Write this process's rows of some tensors. Tensors that all processes hold are written by the main process.

    Args:
        folder: Folder to write to, the same for all processes.
        part: Name of the tensors: the file is `part.safetensors`, or one of `part-00001-of-00008.safetensors`.
        tensors: The tensors; distributed ones are sharded by rows.

    Returns:
        Digests of the files that this process has written, by name.
    """
    state = processes()
    sharded = any(isinstance(tensor, DTensor) for tensor in tensors.values())
    if not (sharded or state.is_main_process):
        return {}
    shard = f"-{state.process_index + 1:05d}-of-{state.num_processes:05d}" if sharded else ""
    path = folder / f"{part}{shard}.safetensors"
    held = {name: _held(tensor, state.is_main_process) for name, tensor in tensors.items()}
    save_safetensors(path, {name: tensor for name, tensor in held.items() if tensor is not None})
    return {path.name: file_digest(path)}


def _held(tensor: torch.Tensor, is_main_process: bool) -> torch.Tensor | None:
    if isinstance(tensor, DTensor):
        local = tensor.to_local()
        return local if len(local) else None
    return tensor if is_main_process else None


class SavedTensors:
    """Reads one part of what `write_shard` wrote.

    Args:
        folder: Folder of the files.
        part: Name of the part.
        names: Names of files in that folder, of this part and of others.

    Raises:
        CheckpointError: A file is damaged.
    """

    def __init__(self, folder: Path, part: str, names: Sequence[str]) -> None:
        files = sorted(name for name in names if name.partition(".")[0].partition("-")[0] == part)
        self.where = folder / f"{part}.safetensors"
        self._files: list[Any] = [_open(folder / name) for name in files]
        self._holders: dict[str, list[int]] = {}
        for number, file in enumerate(self._files):
            for name in file.keys():  # noqa: SIM118 - no mapping
                self._holders.setdefault(name, []).append(number)

    def names(self) -> tuple[str, ...]:
        """Names of all tensors."""
        return tuple(self._holders)

    def like(self, name: str, own: torch.Tensor | None) -> torch.Tensor:
        """A whole tensor on the CPU; or one distributed as `own`, on its device, if `own` is so and has its shape.

        Of a distributed tensor only this process's rows are read.

        Raises:
            CheckpointError: There is no tensor of that name, or its shards do not fit each other.
        """
        if name not in self._holders:
            raise CheckpointError(f"lacks {name}", where=self.where)
        if isinstance(own, DTensor) and own.shape == self._shape(name):
            start = _first_row(own)
            return as_shard(self._rows(name, start, start + len(own.to_local())), own)
        pieces = [self._files[number].get_tensor(name) for number in self._holders[name]]
        try:
            return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        except RuntimeError as error:
            raise CheckpointError(f"holds shards of {name} that do not fit each other", where=self.where) from error

    def _shape(self, name: str) -> torch.Size:
        shapes = [self._files[number].get_slice(name).get_shape() for number in self._holders[name]]
        return torch.Size([sum(shape[0] for shape in shapes), *shapes[0][1:]]) if shapes[0] else torch.Size()

    def _rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        pieces: list[torch.Tensor] = []
        first = 0
        for number in self._holders[name]:
            piece = self._files[number].get_slice(name)
            rows = piece.get_shape()[0]
            begin, end = (min(max(row - first, 0), rows) for row in (start, stop))
            if begin < end or not pieces:  # without rows, the width still counts
                pieces.append(piece[begin:end])
            first += rows
        return torch.cat(pieces)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"not a valid safetensors file: {error}", where=path) from error


def _first_row(own: DTensor) -> int:
    """First row of this process; FSDP distributes rows as `torch.chunk` does."""
    size = math.ceil(own.shape[0] / own.device_mesh.size())
    return min(own.device_mesh.get_local_rank() * size, own.shape[0])
