"""Checkpoints: everything a run needs to go on as if it had never stopped.

Tensors are safetensors, the rest is JSON; nothing is pickled. Randomness needs no state, because every step seeds
its own. A checkpoint is a folder that appears whole or not at all.
"""

from __future__ import annotations

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

KEPT = 2


@dataclass(frozen=True)
class Progress:
    """How far a run has come: optimiser steps done, and seconds of training spent on them."""

    step: int
    elapsed_s: float


def save_checkpoint(
    root: Path, task: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel, progress: Progress, fingerprint: str
) -> None:
    """Write a checkpoint below `root` and drop all but the newest two."""
    with atomic_folder(root / f"step-{progress.step:08d}") as folder:
        save_safetensors(folder / "task.safetensors", task.state_dict())
        save_safetensors(folder / "ema.safetensors", _numbered(ema.shadow_params))
        save_safetensors(folder / "optimizer.safetensors", _optimizer_tensors(optimizer))
        state = {"step": progress.step, "elapsed_s": progress.elapsed_s, "fingerprint": fingerprint}
        write_json(folder / "state.json", state | {"ema_step": ema.optimization_step})
    for old in _checkpoints(root)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def restore_checkpoint(
    root: Path, task: nn.Module, optimizer: torch.optim.Optimizer, ema: EMAModel, fingerprint: str
) -> Progress:
    """Load the newest checkpoint below `root` into its owners; start at step 0 where there is none.

    Raises:
        CheckpointError: The checkpoint is damaged, or was written by another configuration, space or data.
    """
    checkpoints = _checkpoints(root)
    if not checkpoints:
        return Progress(0, 0.0)
    folder = checkpoints[-1]
    state = read_json(folder / "state.json", error=CheckpointError)
    if state.get("fingerprint") != fingerprint:
        raise CheckpointError(
            "was written by another search space, data set or training configuration",
            where=folder,
            hint="restore that configuration, or choose another output folder",
        )
    load_into(task, load_safetensors(folder / "task.safetensors"), where=folder / "task.safetensors")
    shadow = load_safetensors(folder / "ema.safetensors")
    ema.shadow_params = [shadow[str(index)].to(old.device) for index, old in enumerate(ema.shadow_params)]
    ema.optimization_step = int(state["ema_step"])
    _load_optimizer(optimizer, load_safetensors(folder / "optimizer.safetensors"))
    return Progress(int(state["step"]), float(state["elapsed_s"]))


def _checkpoints(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"))


def _numbered(tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {str(index): tensor for index, tensor in enumerate(tensors)}


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, slot in state.items() for name, value in slot.items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
