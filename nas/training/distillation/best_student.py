"""Keeping the best student of a distillation, and ending a distillation that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from nas.errors import TrainingError
from nas.files import StrictModel, parse, write_json
from nas.models import VideoModel
from nas.training.distillation.adversarial import DISCRIMINATOR
from nas.training.distillation.checks import Check, StudentCheck
from nas.training.engine.callbacks import Callback
from nas.training.engine.processes import from_main
from nas.training.engine.run_folder import CHECKPOINTS
from nas.training.recipes.runs import save_model

WIN_SHARE, WIN_STEPS = 0.995, 200
"""The discriminator has won when its accuracy was above this share, on average over this many steps."""

MIN_DIVERSITY = 0.2
"""A student has collapsed when its diversity falls below this share of the teacher's."""

_ACCURACIES = (f"{DISCRIMINATOR}_accuracy_on_real", f"{DISCRIMINATOR}_accuracy_on_generated")


class BestStudentState(StrictModel):
    """The state of `BestStudentCallback`, which is saved in every checkpoint.

    Args:
        best: The check of the student that is kept.
        checks: All checks, in order.
        accuracies: Accuracy of the discriminator in each of the last steps: the lower one of real and generated clips.
    """

    best: Check | None = None
    checks: tuple[Check, ...] = ()
    accuracies: Annotated[tuple[float, ...], Field(validation_alias=AliasChoices("accuracies", "told"))] = ()

    def with_check(self, check: Check) -> BestStudentState:
        """The state after one more check, which becomes the best if it has no fault and ranks first."""
        first = self.best is None or _rank(check) < _rank(self.best)
        best = check if first and fault(check) is None else self.best
        return self.model_copy(update={"best": best, "checks": (*self.checks, check)})


def _rank(check: Check) -> tuple[bool, float]:
    """The key that sorts students by distance, with the teacher (step 0) last.

    The distance of a few clips grows with their diversity. A teacher whose clips blur in few steps therefore has a
    small distance, although its clips are bad.
    """
    return check.step == 0, check.distance or 0.0


def fault(check: Check) -> str | None:
    """Why a student is useless; `None` if it is not."""
    if check.distance is None or check.diversity is None:
        return f"the student's clips are not finite at step {check.step}"
    if check.diversity < MIN_DIVERSITY:
        return (
            f"mode collapse: at step {check.step} clips of one caption differ by {check.diversity:.0%} of what the "
            "teacher's differ by"
        )
    return None


class BestStudentCallback(Callback):
    """Keeps the best student of a run, and ends a run that fails.

    The best student is chosen before a checkpoint is written. It is saved after the checkpoint, and again when a run
    resumes from that checkpoint. So the student in `model` is always the one that the newest checkpoint names.

    Args:
        student: The model whose network is trained.
        make_check: Makes the check of the student's clips. It is called when training begins, on its device.
        folder: Folder of the run. The best student is stored in `model`, and the checks in `checks.json`.
    """

    needs_weights = True

    def __init__(self, student: VideoModel, make_check: Callable[[], StudentCheck], folder: Path) -> None:
        self.student, self.make_check, self.folder = student, make_check, folder
        self.state = BestStudentState()
        self._check: StudentCheck | None = None

    def begin(self, step: int, saved: Mapping[str, Any]) -> None:
        """Restore the state. A new run keeps the untrained student, a copy of the teacher, until one is better."""
        self.state = parse(dict(saved), BestStudentState, where=self.folder / CHECKPOINTS)
        best = self.state.best
        if best is None or not from_main((self.folder / "model").is_dir):
            self.state = self.state.model_copy(update={"best": None})
            self.before_checkpoint(step)
        self.after_checkpoint(step)

    def after_step(self, step: int, values: Mapping[str, float]) -> None:
        """Record the accuracy of the discriminator.

        Raises:
            TrainingError: The discriminator has won.
        """
        if _ACCURACIES[0] not in values:
            return
        accuracies = (*self.state.accuracies, min(values[name] for name in _ACCURACIES))[-WIN_STEPS:]
        self.state = self.state.model_copy(update={"accuracies": accuracies})
        if len(accuracies) == WIN_STEPS and sum(accuracies) / WIN_STEPS > WIN_SHARE:
            raise TrainingError(
                f"the discriminator has won: over the last {WIN_STEPS} steps, up to step {step}, it classified more "
                f"than {WIN_SHARE:.1%} of real and of generated clips correctly; the student learns nothing from it",
                hint="lower adversarial.learning_rate, or raise adversarial.r1_weight",
            )

    def before_checkpoint(self, step: int) -> None:
        """Check the student, and write `checks.json`.

        Raises:
            TrainingError: The student makes the same clip from any noise, or clips that are not finite.
        """
        check = from_main(lambda: self._check_student(step))
        self.state = self.state.with_check(check)
        from_main(lambda: write_json(self.folder / "checks.json", self.state.model_dump(exclude={"accuracies"})))
        if (what := fault(check)) is not None:
            raise TrainingError(what, hint="lower learning_rate or adversarial.weight")

    def after_checkpoint(self, step: int) -> None:
        """Save the student if it is the best so far."""
        if self.state.best is not None and self.state.best.step == step:
            save_model(self.student, self.folder / "model")

    def state_to_save(self) -> Mapping[str, Any]:
        """The best student, all checks, and the last accuracies."""
        return self.state.model_dump()

    def kept(self) -> str:
        """A sentence on which student is kept, for messages."""
        if self.state.best is None:
            return "no student is kept"
        return f"the best student so far, of step {self.state.best.step}, is kept in {self.folder / 'model'}"

    def _check_student(self, step: int) -> Check:
        self._check = self._check or self.make_check()
        return self._check(self.student, step) if step else self._check.at_start()
