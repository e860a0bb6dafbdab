"""Callbacks: what is called at fixed moments of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Callback:
    """Base class of callbacks; its methods do nothing.

    Each process of a run has its own callback, and all are called alike. A method may raise `TrainingError` to end the
    run; it must then raise in all processes. The state that a callback saves is part of each checkpoint, so that a
    resumed run continues as the uninterrupted one would. If weights are sharded, those of the task are whole during
    a call, and on the training device in the main process only.
    """

    needs_weights = False
    """Whether it reads the task's weights. Only then does the task hold its averaged weights during a call."""

    def begin(self, step: int, saved: Mapping[str, Any]) -> None:
        """Called before the first step, or where a run resumes.

        Args:
            step: Steps already done.
            saved: What `state_to_save` returned for the checkpoint; empty at the beginning.
        """

    def after_step(self, step: int, values: Mapping[str, float]) -> None:
        """Called after each step.

        Args:
            step: Steps done.
            values: Losses of the step. Those of a phase other than the model's begin with the phase's name.
        """

    def before_checkpoint(self, step: int) -> None:
        """Called before each checkpoint, and so before the end of the run."""

    def after_checkpoint(self, step: int) -> None:
        """Called when the checkpoint is written."""

    def state_to_save(self) -> Mapping[str, Any]:
        """State for the checkpoint; plain data."""
        return {}
