"""Checkpoints: everything that a run needs to resume as if it had never stopped.

Tensors are safetensors, the rest is JSON; nothing is pickled. Random numbers need no state, because each step derives
its own seeds. A checkpoint is a folder that appears whole or not at all, with a digest of each file: if a file is
damaged later, the checkpoint before it is used. If weights are sharded, each process writes its shard into the same
folder, and any number of processes can resume from it.
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

from nas.errors import CheckpointError, TrainingError
from nas.files import atomic_folder, write_json
from nas.models.weights import load_into, not_finite
from nas.training.engine.checkpoint_files import (
    EMA,
    OPTIMIZERS,
    PARTS,
    STATE,
    TASK,
    CheckpointState,
    check_files,
    checkpoint_folders,
    checkpoint_name,
    read_state,
    step_of,
)
from nas.training.engine.parallelism import Optimizers, as_shard, local_rows
from nas.training.engine.processes import from_all, from_main, processes
from nas.training.engine.sharded_tensors import SavedTensors, write_shard
from nas.training.engine.task import MODEL, OptimizerPhase

logger = logging.getLogger(__name__)

KEPT = 2

_SLOTS = ("step", "exp_avg", "exp_avg_sq")
"""State that AdamW keeps for a parameter."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: optimiser steps done, and the seconds of training that they took."""

    step: int
    elapsed_s: float


@dataclass(frozen=True)
class RunHistory:
    """What a checkpoint keeps of a run beside its tensors and progress.

    Args:
        callback_state: State of the run's callback; plain data.
        losses: Losses of the last logged steps.
    """

    callback_state: Mapping[str, Any]
    losses: Sequence[float] = ()


@dataclass(frozen=True)
class TrainingState:
    """Everything that training changes.

    Args:
        task: The trained task.
        phases: The phases of its steps; their parameters belong to the task.
        optimizers: The optimiser of each phase, over this process's part of the phase's parameters.
        ema: Averages of this process's part of the model's parameters.
    """

    task: nn.Module
    phases: Sequence[OptimizerPhase]
    optimizers: Optimizers
    ema: EMAModel

    def parts(self) -> dict[str, dict[str, torch.Tensor]]:
        """All tensors, by part and name; distributed if the task's are."""
        means = zip(self.owners(MODEL), self.ema.shadow_params, strict=True)
        return {
            TASK: self.task.state_dict(),
            EMA: {str(index): as_shard(mean, owner) for index, (owner, mean) in enumerate(means)},
            OPTIMIZERS: {
                f"{phase.name}.{index}.{name}": as_shard(torch.as_tensor(value), phase.parameters[index])
                for phase in self.phases
                for index, slots in self.optimizers[phase.name].state_dict()["state"].items()
                for name, value in slots.items()
            },
        }

    def load(self, saved: Mapping[str, SavedTensors], where: Path) -> None:
        """Load what `parts` returned.

        Raises:
            CheckpointError: A tensor is missing, unknown, of another shape, or not finite.
        """
        own, task = self.task.state_dict(), saved[TASK]
        weights = {name: task.like(name, own.get(name)) for name in task.names()}
        owners = self.owners(MODEL)
        means = [_fitting(saved[EMA], str(index), owner) for index, owner in enumerate(owners)]
        states = self._optimizer_states(saved[OPTIMIZERS])
        _require_finite(TASK, weights, where)
        _require_finite(EMA, dict(zip(map(str, range(len(means))), means, strict=True)), where)
        for phase, state in states.items():
            tensors = {f"{phase}.{index}.{slot}": tensor for index in state for slot, tensor in state[index].items()}
            _require_finite(OPTIMIZERS, tensors, where)
        load_into(self.task, weights, where=where)
        self.ema.shadow_params = [mean.to(owner.device) for mean, owner in zip(means, owners, strict=True)]
        for name, state in states.items():
            optimizer = self.optimizers[name]
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def owners(self, name: str) -> tuple[nn.Parameter, ...]:
        """The parameters of a phase."""
        (parameters,) = (phase.parameters for phase in self.phases if phase.name == name)
        return parameters

    def _optimizer_states(self, saved: SavedTensors) -> dict[str, dict[int, dict[str, torch.Tensor]]]:
        """State of each phase's optimiser, by phase, parameter number and slot; empty for what never learned."""
        states: dict[str, dict[int, dict[str, torch.Tensor]]] = {phase.name: {} for phase in self.phases}
        owners = {f"{phase.name}.{i}": owner for phase in self.phases for i, owner in enumerate(phase.parameters)}
        for key in sorted({name.rpartition(".")[0] for name in saved.names()}):
            if key not in owners:
                raise CheckpointError(f"has an unknown tensor {key}", where=saved.where)
            phase, _, index = key.rpartition(".")
            states[phase][int(index)] = {
                slot: _fitting(saved, f"{key}.{slot}", owners[key], scalar=slot == "step") for slot in _SLOTS
            }
        return states


def _fitting(saved: SavedTensors, name: str, owner: torch.Tensor, *, scalar: bool = False) -> torch.Tensor:
    """This process's part of a saved tensor, which must have the shape of its owner, or of a number."""
    tensor = local_rows(saved.like(name, owner))
    expected = torch.Size() if scalar else local_rows(owner).shape
    if tensor.shape != expected:
        raise CheckpointError(f"has the wrong shape for {name}", where=saved.where)
    return tensor


def _require_finite(part: str, tensors: Mapping[str, torch.Tensor], where: Path) -> None:
    if names := not_finite(tensors):
        raise CheckpointError(f"holds numbers that are not finite: {names[0]} of {part}", where=where)


def save_checkpoint(
    root: Path, training: TrainingState, progress: Progress, fingerprint: str, history: RunHistory
) -> None:
    """Write a checkpoint into `root`, all processes together. Only the one before it is kept besides.

    Args:
        root: Folder of all checkpoints of the run, the same for all processes.
        training: State to save.
        progress: Progress of the run.
        fingerprint: Digest of everything that decides the result.
        history: What else the checkpoint keeps.

    Raises:
        StorageError: The disk is full or the folder cannot be written; in all processes.
        TrainingError: A tensor is not finite; in all processes. The checkpoints before it are kept.
    """
    parts = training.parts()
    from_all(lambda: check_before_saving(root, parts, progress))
    with contextlib.ExitStack() as held:  # of the new folder, in the main process only
        folder = from_main(lambda: held.enter_context(new_folder(root, progress.step)))
        digests = from_all(lambda: {k: v for part in parts for k, v in write_shard(folder, part, parts[part]).items()})

        def complete() -> None:
            files = {name: digest for each in digests for name, digest in each.items()}
            state = state_of(training, progress, fingerprint, history, files)
            write_json(folder / STATE, state.model_dump())
            held.close()
            prune(root, progress.step)

        from_main(complete)


def state_of(
    training: TrainingState, progress: Progress, fingerprint: str, history: RunHistory, sha256: Mapping[str, str]
) -> CheckpointState:
    """What a checkpoint says of a run beside its tensors, whose files have some digests."""
    return CheckpointState(
        step=progress.step,
        elapsed_s=progress.elapsed_s,
        fingerprint=fingerprint,
        ema_step=training.ema.optimization_step,
        sha256=sha256,
        observed=history.callback_state,
        losses=list(history.losses),
    )


def new_folder(root: Path, step: int) -> contextlib.AbstractContextManager[Path]:
    """A temporary folder that becomes the checkpoint of a step when the block ends well."""
    target = root / checkpoint_name(step)
    if target in checkpoint_folders(root):  # damaged, otherwise the run would have resumed after it
        shutil.rmtree(target, ignore_errors=True)
    return atomic_folder(target, "checkpoint")


def check_before_saving(root: Path, parts: Mapping[str, Mapping[str, torch.Tensor]], progress: Progress) -> None:
    """Raise `TrainingError` if a tensor is not finite."""
    for part, tensors in parts.items():
        if names := not_finite(tensors):
            raise TrainingError(
                f"after step {progress.step}, {names[0]} of {part} is not finite; training diverged",
                where=root,
                hint="lower the learning rate; the last checkpoint before it is kept",
            )


def prune(root: Path, newest: int) -> None:
    """Remove all checkpoints but the newest and the one before it."""
    folders = checkpoint_folders(root)
    before = [folder for folder in folders if step_of(folder) <= newest]
    for old in set(folders) - set(before[-KEPT:]):
        shutil.rmtree(old, ignore_errors=True)


def restore_checkpoint(root: Path, training: TrainingState, fingerprint: str) -> tuple[Progress, RunHistory]:
    """Load the newest whole checkpoint below `root` into its owners; start at step 0 where there is none.

    Returns:
        Progress of the run, and what else the checkpoint holds.

    Raises:
        CheckpointError: All checkpoints are damaged, or one was written by another configuration, space or data.
    """
    damage: CheckpointError | None = None
    for folder in reversed(from_main(lambda: checkpoint_folders(root))):
        try:
            state = _checked(folder)
            if state.fingerprint == fingerprint:
                return _restore(folder, state, training)
        except CheckpointError as error:
            if processes().is_main_process:
                logger.warning("%s; resuming from an earlier checkpoint", error)
            damage = damage or error
            continue
        raise CheckpointError(
            "was written by another search space, data set or training configuration",
            where=folder,
            hint="restore that configuration, or choose another output folder",
        )
    if damage is not None:
        raise CheckpointError(
            f"all checkpoints are damaged; the newest: {damage.what}",
            where=damage.where,
            hint=f"delete {root} to start again",
        ) from damage
    return Progress(0, 0.0), RunHistory({})


def _checked(folder: Path) -> CheckpointState:
    """Read the state of a checkpoint, and check the digests of all files; each process checks some of them."""
    state = from_main(lambda: read_state(folder))
    names = sorted(state.sha256)[processes().process_index :: processes().num_processes]
    from_all(lambda: check_files(folder, {name: state.sha256[name] for name in names}))
    return state


def _restore(folder: Path, state: CheckpointState, training: TrainingState) -> tuple[Progress, RunHistory]:
    def load() -> None:
        training.load({part: SavedTensors(folder, part, list(state.sha256)) for part in PARTS}, folder)

    from_all(load)
    training.ema.optimization_step = state.ema_step
    return Progress(state.step, state.elapsed_s), RunHistory(state.observed, state.losses)
