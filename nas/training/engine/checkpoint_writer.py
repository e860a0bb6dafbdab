"""Writing of a run's checkpoints: while the run waits, or in the background while it trains on.

In the background, a run stops only while its tensors are checked and copied to memory. A checkpoint is as whole as any
other: its folder gets its name when all files are written, and the checkpoints before it stay until then.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from nas.files import file_digest, write_json
from nas.models.weights import copied, save_copied
from nas.training.engine.checkpoint import (
    Progress,
    RunHistory,
    TrainingState,
    check_before_saving,
    new_folder,
    prune,
    save_checkpoint,
    state_of,
)
from nas.training.engine.checkpoint_files import STATE, CheckpointState
from nas.training.engine.processes import from_all, processes


class CheckpointWriter:
    """Writes checkpoints while the run waits.

    Args:
        root: Folder of all checkpoints of the run, the same for all processes.
        training: What is saved.
        fingerprint: Digest of everything that decides the result.
    """

    def __init__(self, root: Path, training: TrainingState, fingerprint: str) -> None:
        self.root, self.training, self.fingerprint = root, training, fingerprint

    def save(self, progress: Progress, history: RunHistory) -> None:
        """Write a checkpoint, all processes together; raises as `save_checkpoint`."""
        save_checkpoint(self.root, self.training, progress, self.fingerprint, history)

    def wait(self) -> None:
        """Wait until all checkpoints are written; raises in all processes what could not be written."""

    def close(self) -> None:
        """Wait in this process, without raising; for a run that ends early."""


class BackgroundWriter(CheckpointWriter):
    """Writes checkpoints on a thread of the main process; for weights that each process holds whole."""

    def __init__(self, root: Path, training: TrainingState, fingerprint: str) -> None:
        super().__init__(root, training, fingerprint)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def save(self, progress: Progress, history: RunHistory) -> None:
        """Copy everything, and write it in the background. It first waits for the checkpoint before."""
        self.wait()
        parts = self.training.parts()
        from_all(lambda: check_before_saving(self.root, parts, progress))
        if processes().is_main_process:
            state = state_of(self.training, progress, self.fingerprint, history, {})
            tensors = {part: copied(each) for part, each in parts.items()}
            self._writing = self._thread.submit(_write, self.root, tensors, state)

    def wait(self) -> None:
        """Wait until the last checkpoint is written; a full disk is raised here."""
        from_all(self._result)

    def close(self) -> None:
        """Let the checkpoint that is being written come to its end."""
        self._thread.shutdown()

    def _result(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()


def _write(root: Path, parts: Mapping[str, dict[str, torch.Tensor]], state: CheckpointState) -> None:
    with new_folder(root, state.step) as folder:
        digests: dict[str, str] = {}
        for part, tensors in parts.items():
            path = folder / f"{part}.safetensors"
            save_copied(path, tensors)
            digests[path.name] = file_digest(path)
        write_json(folder / STATE, state.model_copy(update={"sha256": digests}).model_dump())
    prune(root, state.step)
