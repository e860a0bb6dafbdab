"""Checkpoints: everything a run needs to go on as if it had never stopped.

Tensors are safetensors, the rest is JSON; nothing is pickled. Randomness needs no state, because every step seeds
its own. A checkpoint is a folder that appears whole or not at all, with a digest of each file: what a disk or a copy
has damaged since is noticed, and the checkpoint before it is used.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from nas.errors import CheckpointError
from nas.files import atomic_folder, read_json, write_json
from nas.models.weights import load_into, load_safetensors, save_safetensors

logger = logging.getLogger(__name__)

KEPT = 2

_TASK, _EMA, _OPTIMIZERS, _STATE = "task.safetensors", "ema.safetensors", "optimizers.safetensors", "state.json"


@dataclass(frozen=True)
class Progress:
    """How far a run has come: optimiser steps done, and seconds of training spent on them."""

    step: int
    elapsed_s: float


_KEYS = {"step", "elapsed_s", "fingerprint", "ema_step", "sha256", "observed"}

Optimizers = Mapping[str, torch.optim.Optimizer]
"""The optimisers of a run, by the name of their turn."""


def save_checkpoint(
    root: Path,
    task: nn.Module,
    optimizers: Optimizers,
    ema: EMAModel,
    progress: Progress,
    fingerprint: str,
    observed: Mapping[str, Any],
) -> None:
    """Write a checkpoint below `root`; of the others, only the one before it stays.

    Args:
        root: Folder of all checkpoints of the run.
        task: What is trained.
        optimizers: Its optimisers.
        ema: Its averaged weights.
        progress: How far it has come.
        fingerprint: Digest of everything that decides the result.
        observed: What the run's observer remembers; plain data.
    """
    with atomic_folder(root / f"step-{progress.step:08d}") as folder:
        save_safetensors(folder / _TASK, task.state_dict())
        save_safetensors(folder / _EMA, _numbered(ema.shadow_params))
        save_safetensors(folder / _OPTIMIZERS, _optimizer_tensors(optimizers))
        digests = {name: _digest(folder / name) for name in (_TASK, _EMA, _OPTIMIZERS)}
        state = {"step": progress.step, "elapsed_s": progress.elapsed_s, "fingerprint": fingerprint}
        write_json(
            folder / _STATE, state | {"ema_step": ema.optimization_step, "sha256": digests, "observed": observed}
        )
    before = [folder for folder in _checkpoints(root) if folder.name <= f"step-{progress.step:08d}"]
    for old in set(_checkpoints(root)) - set(before[-KEPT:]):
        shutil.rmtree(old, ignore_errors=True)


def restore_checkpoint(
    root: Path, task: nn.Module, optimizers: Optimizers, ema: EMAModel, fingerprint: str
) -> tuple[Progress, Mapping[str, Any]]:
    """Load the newest whole checkpoint below `root` into its owners; start at step 0 where there is none.

    Returns:
        How far the run has come, and what its observer remembers.

    Raises:
        CheckpointError: All checkpoints are damaged, or one was written by another configuration, space or data.
    """
    damage: CheckpointError | None = None
    for folder in reversed(_checkpoints(root)):
        try:
            saved = _read(folder)
        except CheckpointError as error:
            logger.warning("%s; going on from an earlier checkpoint", error)
            damage = damage or error
            continue
        if saved.state["fingerprint"] != fingerprint:
            raise CheckpointError(
                "was written by another search space, data set or training configuration",
                where=folder,
                hint="restore that configuration, or choose another output folder",
            )
        return _restore(saved, task, optimizers, ema)
    if damage is not None:
        raise CheckpointError(
            f"no whole checkpoint is left; the newest: {damage.what}",
            where=damage.where,
            hint=f"delete {root} to begin anew",
        ) from damage
    return Progress(0, 0.0), {}


@dataclass(frozen=True)
class _Saved:
    """What a folder holds."""

    folder: Path
    state: Mapping[str, Any]
    task: Mapping[str, torch.Tensor]
    ema: Mapping[str, torch.Tensor]
    optimizers: Mapping[str, torch.Tensor]


def _read(folder: Path) -> _Saved:
    """A checkpoint, every file of which is as it was written."""
    state = read_json(folder / _STATE, error=CheckpointError)
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        raise CheckpointError("is not the state of a checkpoint", where=folder / _STATE)
    tensors = {}
    for name in (_TASK, _EMA, _OPTIMIZERS):
        tensors[name] = load_safetensors(folder / name)
        if _digest(folder / name) != state["sha256"].get(name):
            raise CheckpointError("is not what was written: its digest differs", where=folder / name)
    return _Saved(folder, state, tensors[_TASK], tensors[_EMA], tensors[_OPTIMIZERS])


def _restore(saved: _Saved, task: nn.Module, optimizers: Optimizers, ema: EMAModel) -> tuple[Progress, Any]:
    load_into(task, saved.task, where=saved.folder / _TASK)
    ema.shadow_params = [saved.ema[str(index)].to(old.device) for index, old in enumerate(ema.shadow_params)]
    ema.optimization_step = int(saved.state["ema_step"])
    _load_optimizers(optimizers, saved.optimizers)
    return Progress(int(saved.state["step"]), float(saved.state["elapsed_s"])), saved.state["observed"]


def _checkpoints(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbered(tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(index): tensor for index, tensor in enumerate(tensors)}


def _optimizer_tensors(optimizers: Optimizers) -> dict[str, torch.Tensor]:
    return {
        f"{turn}.{index}.{name}": torch.as_tensor(value)
        for turn, optimizer in optimizers.items()
        for index, slot in optimizer.state_dict()["state"].items()
        for name, value in slot.items()
    }


def _load_optimizers(optimizers: Optimizers, tensors: Mapping[str, torch.Tensor]) -> None:
    states: dict[str, dict[int, dict[str, torch.Tensor]]] = {turn: {} for turn in optimizers}
    for key, tensor in tensors.items():
        turn, index, name = key.split(".")
        states[turn].setdefault(int(index), {})[name] = tensor
    for turn, optimizer in optimizers.items():
        optimizer.load_state_dict({"state": states[turn], "param_groups": optimizer.state_dict()["param_groups"]})
