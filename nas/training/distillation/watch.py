"""Watching a distillation: which student is the best so far, and when going on is of no use."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from nas.errors import CheckpointError, TrainingError
from nas.files import StrictModel, parse, read_json, write_json
from nas.models import VideoModel
from nas.training.distillation.adversarial import DISCRIMINATOR
from nas.training.distillation.checks import Check, StudentCheck
from nas.training.loop import Observer
from nas.training.processes import processes
from nas.training.runs import save_model

WIN_SHARE, WIN_STEPS = 0.995, 200
"""A discriminator has won when it was right about this share of what it saw, over this many steps."""

LEAST_VARIETY = 0.2
"""Clips of one caption that are closer than this, as a share of the teacher's, are all the same."""

_TOLD = (f"{DISCRIMINATOR}_told_real", f"{DISCRIMINATOR}_told_generated")


class CheckRecord(StrictModel):
    """One check of a student; see `Check`."""

    step: int
    distance: float
    variety: float


class Checks(StrictModel):
    """The checks of a run so far, as `checks.json` holds them.

    Args:
        best: Step of the student that is kept.
        checks: All of them, in order.
    """

    best: int | None = None
    checks: tuple[CheckRecord, ...] = ()

    def with_check(self, check: Check) -> Checks:
        """With one more, in the place of those of this step and later, which an interrupted run has left."""
        record = CheckRecord(**dataclasses.asdict(check))
        before = tuple(each for each in self.checks if each.step < record.step)
        kept = (*before, record)
        return Checks(best=min(kept, key=lambda each: each.distance).step, checks=kept)


class StudentWatch(Observer):
    """Keeps the best student of a run, and ends a run that fails.

    Args:
        student: Holds the network that is trained.
        check: Looks at its clips.
        folder: Of the run; the best student stands in `model`, and what was seen in `checks.json`.
    """

    def __init__(self, student: VideoModel, check: StudentCheck, folder: Path) -> None:
        self.student, self.check, self.folder = student, check, folder
        self._told: deque[float] = deque(maxlen=WIN_STEPS)

    @property
    def file(self) -> Path:
        """Where the checks stand."""
        return self.folder / "checks.json"

    def checks(self) -> Checks:
        """The checks so far."""
        if not self.file.is_file():
            return Checks()
        return parse(read_json(self.file, error=CheckpointError), Checks, where=self.file)

    def after_step(self, step: int, values: Mapping[str, float]) -> None:
        """See `Observer.after_step`.

        Raises:
            TrainingError: The discriminator has won.
        """
        if _TOLD[0] not in values:
            return
        self._told.append(min(values[name] for name in _TOLD))
        if len(self._told) == WIN_STEPS and sum(self._told) / WIN_STEPS > WIN_SHARE:
            raise TrainingError(
                f"the discriminator has won: over the last {WIN_STEPS} steps to step {step} it knew more than "
                f"{WIN_SHARE:.1%} of real and of generated clips as such, and the student learns nothing from it",
                hint="lower adversarial.learning_rate, or raise adversarial.r1_weight or adversarial.renoise.mean",
            )

    def before_checkpoint(self, step: int) -> None:
        """See `Observer.before_checkpoint`.

        Raises:
            TrainingError: The student makes the same clip whatever the noise, or clips that are not finite.
        """
        check = self.check(self.student, step)
        if check.variety < LEAST_VARIETY:
            raise TrainingError(
                f"mode collapse: at step {step} clips of one caption differ by {check.variety:.0%} of what the "
                "teacher's differ by",
                hint="lower adversarial.weight or learning_rate, or raise adversarial.target_weight",
            )
        checks = self.checks().with_check(check)
        if checks.best == step:
            save_model(self.student, self.folder / "model")
        if processes().is_main_process:
            write_json(self.file, checks.model_dump())
        processes().wait_for_everyone()

    def kept(self) -> str:
        """What is left of the run, for a reader."""
        best = self.checks().best
        if best is None:
            return "no student was kept: the first check had not come"
        return f"the best student so far, of step {best}, is kept in {self.folder / 'model'}"
