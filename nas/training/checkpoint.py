"""Checkpoints: everything a run needs to go on as if it had never stopped.

Tensors are safetensors, the rest is JSON; nothing is pickled. Randomness needs no state, because every step seeds
its own. A checkpoint is a folder that appears whole or not at all, with a digest of each file: what a disk or a copy
has damaged since is noticed, and the checkpoint before it is used. Where processes share out the weights, each writes
a shard of its own into that folder, which they must all see; any number of processes can go on from it.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from nas.errors import CheckpointError
from nas.files import atomic_folder, file_digest, read_json, write_json
from nas.models.weights import load_into
from nas.training.processes import from_all, from_main, processes
from nas.training.shards import SavedTensors, write_shard
from nas.training.sharing import Optimizers, as_shard, local_rows
from nas.training.tasks import MODEL, Turn

logger = logging.getLogger(__name__)

KEPT = 2

_TASK, _EMA, _OPTIMIZERS, _STATE = "task", "ema", "optimizers", "state.json"


@dataclass(frozen=True)
class Progress:
    """How far a run has come: optimiser steps done, and seconds of training spent on them."""

    step: int
    elapsed_s: float


_KEYS = {"step", "elapsed_s", "fingerprint", "ema_step", "sha256", "observed"}


@dataclass(frozen=True)
class TrainingState:
    """What changes while a task is trained.

    Args:
        task: What is trained.
        turns: The turns of its steps; their parameters are those of the task.
        optimizers: The optimiser of each turn, over what this process holds of the turn's parameters.
        ema: Averages of what this process holds of the parameters of the model's turn.
    """

    task: nn.Module
    turns: Sequence[Turn]
    optimizers: Optimizers
    ema: EMAModel

    def parts(self) -> dict[str, dict[str, torch.Tensor]]:
        """All tensors, by part and name; distributed where the task's are."""
        means = zip(self.owners(MODEL), self.ema.shadow_params, strict=True)
        return {
            _TASK: self.task.state_dict(),
            _EMA: {str(index): as_shard(mean, owner) for index, (owner, mean) in enumerate(means)},
            _OPTIMIZERS: {
                f"{turn.name}.{index}.{name}": as_shard(torch.as_tensor(value), turn.parameters[index])
                for turn in self.turns
                for index, slots in self.optimizers[turn.name].state_dict()["state"].items()
                for name, value in slots.items()
            },
        }

    def load(self, saved: Mapping[str, SavedTensors], where: Path) -> None:
        """Take over what `parts` gave; raises as `load_into`."""
        own, task = self.task.state_dict(), saved[_TASK]
        load_into(self.task, {name: task.like(name, own.get(name)) for name in task.names()}, where=where)
        self.ema.shadow_params = [
            local_rows(saved[_EMA].like(str(index), owner)).to(owner.device)
            for index, owner in enumerate(self.owners(MODEL))
        ]
        for turn in self.turns:
            optimizer = self.optimizers[turn.name]
            state = self._optimizer_state(turn, saved[_OPTIMIZERS])
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def owners(self, name: str) -> tuple[nn.Parameter, ...]:
        """The parameters of a turn."""
        (found,) = (turn.parameters for turn in self.turns if turn.name == name)
        return found

    @staticmethod
    def _optimizer_state(turn: Turn, saved: SavedTensors) -> dict[int, dict[str, torch.Tensor]]:
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key in saved.names():
            name, index, slot = key.split(".")
            if name == turn.name:
                tensor = saved.like(key, turn.parameters[int(index)])
                state.setdefault(int(index), {})[slot] = local_rows(tensor)
        return state


def save_checkpoint(
    root: Path,
    training: TrainingState,
    progress: Progress,
    fingerprint: str,
    observed: Mapping[str, Any],
) -> None:
    """Write a checkpoint below `root`, all processes together; of the others, only the one before it stays.

    Args:
        root: Folder of all checkpoints of the run, the same for all processes.
        training: What is saved.
        progress: How far it has come.
        fingerprint: Digest of everything that decides the result.
        observed: What the run's observer remembers; plain data.

    Raises:
        StorageError: The disk is full or the folder cannot be written, in all processes.
    """
    parts = training.parts()
    state = {"step": progress.step, "elapsed_s": progress.elapsed_s, "fingerprint": fingerprint}
    state |= {"ema_step": training.ema.optimization_step, "observed": observed}
    with contextlib.ExitStack() as made:  # holds the folder in the main process, and nothing in the others
        target = root / f"step-{progress.step:08d}"
        folder = from_main(lambda: made.enter_context(atomic_folder(target, "checkpoint")))
        digests = from_all(lambda: {k: v for part in parts for k, v in write_shard(folder, part, parts[part]).items()})

        def complete() -> None:
            write_json(folder / _STATE, state | {"sha256": {k: v for each in digests for k, v in each.items()}})
            made.close()
            _prune(root, target.name)

        from_main(complete)


def _prune(root: Path, newest: str) -> None:
    before = [folder for folder in _checkpoints(root) if folder.name <= newest]
    for old in set(_checkpoints(root)) - set(before[-KEPT:]):
        shutil.rmtree(old, ignore_errors=True)


def restore_checkpoint(root: Path, training: TrainingState, fingerprint: str) -> tuple[Progress, Mapping[str, Any]]:
    """Load the newest whole checkpoint below `root` into its owners; start at step 0 where there is none.

    Returns:
        How far the run has come, and what its observer remembers.

    Raises:
        CheckpointError: All checkpoints are damaged, or one was written by another configuration, space or data.
    """
    damage: CheckpointError | None = None
    for folder in reversed(from_main(lambda: _checkpoints(root))):
        try:
            state = _checked(folder)
        except CheckpointError as error:
            if processes().is_main_process:
                logger.warning("%s; going on from an earlier checkpoint", error)
            damage = damage or error
            continue
        if state["fingerprint"] != fingerprint:
            raise CheckpointError(
                "was written by another search space, data set or training configuration",
                where=folder,
                hint="restore that configuration, or choose another output folder",
            )
        return _restore(folder, state, training)
    if damage is not None:
        raise CheckpointError(
            f"no whole checkpoint is left; the newest: {damage.what}",
            where=damage.where,
            hint=f"delete {root} to begin anew",
        ) from damage
    return Progress(0, 0.0), {}


def _checked(folder: Path) -> Mapping[str, Any]:
    """The state of a checkpoint, every file of which is as it was written; each process has looked at some of them."""
    state = from_main(lambda: _read_state(folder))
    names = sorted(state["sha256"])[processes().process_index :: processes().num_processes]
    from_all(lambda: _check_files(folder, {name: state["sha256"][name] for name in names}))
    return state


def _read_state(folder: Path) -> Mapping[str, Any]:
    state = read_json(folder / _STATE, error=CheckpointError)
    if not isinstance(state, dict) or not state.keys() >= _KEYS:
        raise CheckpointError("is not the state of a checkpoint", where=folder / _STATE)
    return state


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise CheckpointError("no such file", where=folder / name)
        if file_digest(folder / name) != digest:
            raise CheckpointError("is not what was written: its digest differs", where=folder / name)


def _restore(folder: Path, state: Mapping[str, Any], training: TrainingState) -> tuple[Progress, Any]:
    saved = {part: SavedTensors(folder, part, list(state["sha256"])) for part in (_TASK, _EMA, _OPTIMIZERS)}
    training.load(saved, folder)
    training.ema.optimization_step = int(state["ema_step"])
    return Progress(int(state["step"]), float(state["elapsed_s"])), state["observed"]


def _checkpoints(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"))
