"""Names and states of checkpoints: which folders are checkpoints, and what their `state.json` says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, NonNegativeInt

from nas.errors import CheckpointError, ConfigError
from nas.files import StrictModel, file_digest, parse, read_json

STATE = "state.json"
PARTS = TASK, EMA, OPTIMIZERS = "task", "ema", "optimizers"

_NAME = re.compile("step-[0-9]{8,18}")
_FILE = rf"^({'|'.join(PARTS)})(-[0-9]{{5}}-of-[0-9]{{5}})?\.safetensors$"

FileName = Annotated[str, Field(pattern=_FILE)]


class CheckpointState(StrictModel):
    """The state of a checkpoint, beside its tensors.

    Args:
        step: Optimiser steps done.
        elapsed_s: Seconds of training spent on them.
        fingerprint: Digest of everything that decides the result.
        ema_step: Updates of the averaged weights.
        sha256: Digests of all files of tensors, by name.
        observed: State of the run's callback; plain data.
        losses: Losses of the last logged steps.
    """

    model_config = ConfigDict(strict=True)

    step: NonNegativeInt
    elapsed_s: Annotated[float, Field(ge=0)]
    fingerprint: str
    ema_step: NonNegativeInt
    sha256: Mapping[FileName, str]
    observed: Mapping[str, Any]
    losses: list[float] = []


def checkpoint_name(step: int) -> str:
    """Name of the checkpoint after some steps."""
    return f"step-{step:08d}"


def checkpoint_folders(root: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first. A folder of any other name belongs to the user."""
    candidates = [path for path in root.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    exact = [path for path in candidates if path.name == checkpoint_name(step_of(path))]
    return sorted(exact, key=step_of)


def step_of(folder: Path) -> int:
    """Number of steps in the name of a checkpoint."""
    return int(folder.name.removeprefix("step-"))


def read_state(folder: Path) -> CheckpointState:
    """Read and check the state of a checkpoint.

    Raises:
        CheckpointError: It is missing, malformed, or does not fit the folder.
    """
    path = folder / STATE
    try:
        state = parse(read_json(path, error=CheckpointError), CheckpointState, where=path)
    except ConfigError as problem:
        raise CheckpointError(f"is not the state of a checkpoint: {problem.what}", where=path) from problem
    if state.step != step_of(folder) or state.ema_step > state.step:
        raise CheckpointError(f"is not the state of step {step_of(folder)}", where=path)
    for part in PARTS:
        names = sorted(name for name in state.sha256 if name.startswith(part))
        shards = [f"{part}-{number:05d}-of-{len(names):05d}.safetensors" for number in range(1, len(names) + 1)]
        if names != [f"{part}.safetensors"] and (names != shards or not names):
            raise CheckpointError(f"does not name all files of {part}", where=path)
    return state


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Raise `CheckpointError` for the first file that is not as it was written."""
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise CheckpointError("no such file", where=folder / name)
        try:
            actual = file_digest(folder / name)
        except OSError as error:
            raise CheckpointError(f"cannot be read: {error.strerror}", where=folder / name) from error
        if actual != digest:
            raise CheckpointError("is damaged: its digest is not the one that was written", where=folder / name)
