"""Looking on while something is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Callback:
    """Looks on while a task is trained; does nothing by itself.

    Each process has its own, and all see the same. A method may raise `TrainingError` to end the run, and must then
    do so in all of them. What it remembers goes into checkpoints, so that a resumed run sees what it would have seen.
    Where weights are shared out among processes, those of the task are whole when a callback sees it, and on the
    training device in the main process only.
    """

    needs_weights = False
    """Whether it looks at the task's weights, which are put together for it only then."""

    def begin(self, step: int, saved: Mapping[str, Any]) -> None:
        """See the task at the beginning or where a run goes on, with its averaged weights, on its device."""

    def after_step(self, step: int, values: Mapping[str, float]) -> None:
        """See the values of a step, those of phases other than the model's with the name of the phase before them."""

    def before_checkpoint(self, step: int) -> None:
        """See the task with its averaged weights, before each checkpoint and at the end."""

    def after_checkpoint(self, step: int) -> None:
        """See it again when the checkpoint is written."""

    def state_to_save(self) -> Mapping[str, Any]:
        """What goes into a checkpoint; plain data."""
        return {}
