"""Coordination of the workers of a study: its protocol, and the case of one worker."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from optuna.trial import FrozenTrial, Trial

from nas.search.workers.snapshot import CLAIM, SCORING


class Decision(Enum):
    """What becomes of a claim."""

    SCORE = "score"
    YIELD = "yield"
    """Another trial scores, or has scored, this architecture."""
    NO_PLACE = "no place"
    """The study has enough architectures."""
    WAIT = "wait"
    """It depends on others that have not decided yet."""


@dataclass(frozen=True)
class Outcome:
    """How a claim ended.

    Args:
        decision: What to do.
        winner: The trial yielded to, if there is one.
    """

    decision: Decision
    winner: FrozenTrial | None = None


class Coordination(Protocol):
    """What a worker tells the other workers, and learns of them."""

    def claim(self, trial: Trial, places: int) -> Outcome:
        """Claim the architecture of a trial, which its attributes name, and find out whether to score it.

        Args:
            trial: A running trial with its architecture among its attributes.
            places: Distinct architectures that the study may score in all.
        """

    def heartbeat(self, trial: Trial) -> contextlib.AbstractContextManager[None]:
        """Show, while the block runs, that the trial has a living owner."""

    def fail_stale_trials(self) -> None:
        """Fail the trials whose owners died, so that another worker may take them over."""

    def wait(self, seconds: float) -> None:
        """Wait for other workers, and fail the trials of those that died meanwhile."""

    def without_retries(self) -> contextlib.AbstractContextManager[None]:
        """Do not retry accesses to the database in the block."""


class Alone:
    """Coordination of the only worker: the storage is a SQLite file, which is locked."""

    def claim(self, trial: Trial, places: int) -> Outcome:
        """Take every architecture."""
        trial.set_user_attr(CLAIM, SCORING)
        return Outcome(Decision.SCORE)

    def heartbeat(self, trial: Trial) -> contextlib.AbstractContextManager[None]:
        """Do nothing: nobody would read it."""
        return contextlib.nullcontext()

    def fail_stale_trials(self) -> None:
        """Do nothing: nobody else can have died."""

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def without_retries(self) -> contextlib.AbstractContextManager[None]:
        """Do nothing: a file is not retried."""
        return contextlib.nullcontext()
