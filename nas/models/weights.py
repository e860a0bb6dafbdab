"""Weights in safetensors files, with errors that say what does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from nas.errors import CheckpointError, StorageError
from nas.files import atomic_write, fingerprint, sampled_digest

_PARTS = {".bin", ".json", ".model", ".safetensors", ".txt"}

_BROKEN = "the weights are broken; make or download them again"


def save_safetensors(path: str | Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors to a safetensors file, atomically.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    save_copied(path, copied(tensors))


def copied(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of tensors on the CPU, which share no memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def save_copied(path: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write what `copied` returned, as `save_safetensors`."""
    with atomic_write(path) as temporary:
        try:
            safetensors.torch.save_file(tensors, temporary)
        except safetensors.SafetensorError as error:  # its own form of an operating-system error
            raise StorageError(f"cannot write weights: {error}", where=path, hint="free some space") from error


def load_safetensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file to the CPU.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    if not Path(path).is_file():
        raise CheckpointError("no such file", where=path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        # The last three: types of numbers that torch or safetensors does not support.
        raise CheckpointError(f"not a valid safetensors file: {error}", where=path) from error


def load_into(
    module: nn.Module,
    weights: Mapping[str, torch.Tensor],
    *,
    where: str | Path,
    partial: frozenset[str] = frozenset(),
) -> None:
    """Load weights strictly.

    Args:
        module: What to load into.
        weights: Its state dict.
        where: The file they came from, for messages.
        partial: Names that may be missing in `weights`; these keep their values.

    Raises:
        CheckpointError: A name is missing or unknown, a shape differs, numbers are of another kind (integers
            instead of floats), or one is not finite; the message names the first. The module is unchanged.
    """
    own = module.state_dict()
    missing = sorted(own.keys() - weights.keys() - partial)
    foreign = sorted(weights.keys() - own.keys())
    shapes = sorted(name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape)
    for names, what in ((missing, "lacks"), (foreign, "has an unknown weight"), (shapes, "has the wrong shape for")):
        _refuse(names, what, where, "it belongs to another architecture")
    kinds = [name for name, weight in sorted(weights.items()) if _kind(weight) != _kind(own[name])]
    _refuse(kinds, "has numbers of the wrong kind for", where, "save the weights as float32, float16 or bfloat16")
    broken = [name for name, weight in sorted(weights.items()) if not _finite_as(weight, own[name].dtype)]
    _refuse(broken, "has NaN or infinity in", where, _BROKEN)
    module.load_state_dict(dict(weights), strict=not partial)


def refuse_non_finite(module: nn.Module, *, where: str | Path) -> None:
    """Refuse the weights of a module that another library has loaded if one is NaN or infinite.

    Raises:
        CheckpointError: A weight is; the message names the first.
    """
    _refuse(sorted(not_finite(module.state_dict())), "has NaN or infinity in", where, _BROKEN)


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors with a number that is not finite, in this process's part of them."""
    return [name for name, tensor in tensors.items() if not _finite_as(tensor, tensor.dtype)]


def _refuse(names: Sequence[str], what: str, where: str | Path, hint: str) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(f"{what} {names[0]}{more}", where=where, hint=hint)


def _kind(tensor: torch.Tensor) -> str:
    """The kind of numbers of a tensor; torch converts between kinds without an error."""
    return "complex" if tensor.is_complex() else "fractions" if tensor.is_floating_point() else "whole"


def _finite_as(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether all numbers are finite after conversion to a type; of a sharded tensor, this process's part."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return not (dtype.is_floating_point or dtype.is_complex) or bool(torch.isfinite(local.to(dtype)).all())


def weights_digest(module: nn.Module) -> str:
    """Digest of a module's weights; equal if and only if they are equal bit for bit."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def folder_digest(folder: str | Path) -> str:
    """Digest of the weights and settings in a folder that diffusers or transformers saved, independent of its path.

    Raises:
        CheckpointError: There are none.
    """
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.suffix in _PARTS and path.is_file())
    if not files:
        raise CheckpointError("no weights in this folder", where=root)
    parts = [(path.relative_to(root).as_posix(), sampled_digest(path, error=CheckpointError)) for path in files]
    return fingerprint(parts)
