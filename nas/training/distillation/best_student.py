"""Watching a distillation: which student is the best so far, and when going on is of no use."""

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
"""A discriminator has won when it was right about this share of what it saw, over this many steps."""

MIN_DIVERSITY = 0.2
"""Clips of one caption that are closer than this, as a share of the teacher's, are all the same."""

_ACCURACIES = (f"{DISCRIMINATOR}_accuracy_on_real", f"{DISCRIMINATOR}_accuracy_on_generated")


class BestStudentState(StrictModel):
    """What the watch knows of a run so far; a part of every checkpoint.

    Args:
        best: The check of the student that is kept.
        checks: All checks, in order.
        accuracies: Share of clips that the discriminator was right about, in each of the last steps.
    """

    best: Check | None = None
    checks: tuple[Check, ...] = ()
    accuracies: Annotated[tuple[float, ...], Field(validation_alias=AliasChoices("accuracies", "told"))] = ()

    def with_check(self, check: Check) -> BestStudentState:
        """With one more check, the best where it is sound and ranks before any other so far."""
        first = self.best is None or _rank(check) < _rank(self.best)
        best = check if first and fault(check) is None else self.best
        return self.model_copy(update={"best": best, "checks": (*self.checks, check)})


def _rank(check: Check) -> tuple[bool, float]:
    """Sorts sound students by how near their clips are to what they learn from, and the teacher, of step 0, behind all.

    Of a few clips the distance is larger the more they vary, so that a teacher whose clips blur in few steps looks near
    without being it.
    """
    return check.step == 0, check.distance or 0.0


def fault(check: Check) -> str | None:
    """What makes a student useless, if anything does."""
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

    What is kept is decided before a checkpoint and written after it, and written again where a run goes on from that
    checkpoint. So the student in `model` is always the one that the newest checkpoint names.

    Args:
        student: Holds the network that is trained.
        make_check: Makes what looks at its clips; called when training begins, on its device.
        folder: Of the run; the best student stands in `model`, and what was seen in `checks.json`.
    """

    needs_weights = True

    def __init__(self, student: VideoModel, make_check: Callable[[], StudentCheck], folder: Path) -> None:
        self.student, self.make_check, self.folder = student, make_check, folder
        self.state = BestStudentState()
        self._check: StudentCheck | None = None

    def begin(self, step: int, saved: Mapping[str, Any]) -> None:
        """See `Callback.begin`; at first the student is the teacher, and that is kept until there is a better one."""
        self.state = parse(dict(saved), BestStudentState, where=self.folder / CHECKPOINTS)
        best = self.state.best
        if best is None or not from_main((self.folder / "model").is_dir):
            self.state = self.state.model_copy(update={"best": None})
            self.before_checkpoint(step)
        self.after_checkpoint(step)

    def after_step(self, step: int, values: Mapping[str, float]) -> None:
        """See `Callback.after_step`.

        Raises:
            TrainingError: The discriminator has won.
        """
        if _ACCURACIES[0] not in values:
            return
        accuracies = (*self.state.accuracies, min(values[name] for name in _ACCURACIES))[-WIN_STEPS:]
        self.state = self.state.model_copy(update={"accuracies": accuracies})
        if len(accuracies) == WIN_STEPS and sum(accuracies) / WIN_STEPS > WIN_SHARE:
            raise TrainingError(
                f"the discriminator has won: over the last {WIN_STEPS} steps to step {step} it knew more than "
                f"{WIN_SHARE:.1%} of real and of generated clips as such, and the student learns nothing from it",
                hint="lower adversarial.learning_rate, or raise adversarial.r1_weight",
            )

    def before_checkpoint(self, step: int) -> None:
        """See `Callback.before_checkpoint`.

        Raises:
            TrainingError: The student makes the same clip whatever the noise, or clips that are not finite.
        """
        check = from_main(lambda: self._look(step))
        self.state = self.state.with_check(check)
        from_main(lambda: write_json(self.folder / "checks.json", self.state.model_dump(exclude={"accuracies"})))
        if (what := fault(check)) is not None:
            raise TrainingError(what, hint="lower learning_rate or adversarial.weight")

    def after_checkpoint(self, step: int) -> None:
        """See `Callback.after_checkpoint`."""
        if self.state.best is not None and self.state.best.step == step:
            save_model(self.student, self.folder / "model")

    def state_to_save(self) -> Mapping[str, Any]:
        """See `Callback.state_to_save`."""
        return self.state.model_dump()

    def kept(self) -> str:
        """What is left of the run, for a reader."""
        if self.state.best is None:
            return "no student is kept"
        return f"the best student so far, of step {self.state.best.step}, is kept in {self.folder / 'model'}"

    def _look(self, step: int) -> Check:
        self._check = self._check or self.make_check()
        return self._check(self.student, step) if step else self._check.at_start()
