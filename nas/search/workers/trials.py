"""Finishing a trial: as repeated, over a budget, scored by another worker, failed, or scored."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

import optuna
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.quality.base import Direction
from nas.search.config import SearchConfig
from nas.search.noise.racing import Race
from nas.search.objective import Objective
from nas.search.scores import Failures, Score, is_mistake
from nas.search.storage.contents import PARTS, WITHDRAWN
from nas.search.workers.coordination import Coordination, Decision
from nas.search.workers.snapshot import RELEASED, StudySnapshot, leading
from nas.space import Architecture

logger = logging.getLogger("nas")

MAX_DEATHS = 3
"""Workers that may die while they score an architecture, before it counts as failed.

An architecture that exhausts the memory of the machine ends its process, and would end every worker in turn.
"""


class Trials:
    """Finishes the trials of one worker, and counts them.

    Args:
        objective: Scores architectures.
        config: How many architectures to score, and how many failures to accept.
        study: The study.
        coordination: With the other workers of the study.
    """

    def __init__(
        self, objective: Objective, config: SearchConfig, study: optuna.Study, coordination: Coordination
    ) -> None:
        self.objective, self.config, self.study, self.coordination = objective, config, study, coordination
        self.race = Race(objective.quality, config.first_batches)
        self.scored = self.repeated = self.over_budget = 0
        hint = "fix the cause and start a study of another name"
        self._failures = Failures(config.max_failures, study.study_name, hint)
        # Scores whose trial another worker had ended; they are told again with the next trial.
        self._untold: dict[str, Score] = {}

    def bring_to_an_end(self, trial: Trial, architecture: Architecture, snapshot: StudySnapshot) -> bool:
        """Finish a trial, which includes scoring.

        Args:
            trial: As asked of the study.
            architecture: Its architecture.
            snapshot: The study when the trial was asked.

        Returns:
            Whether the trial counts as an evaluation, because it was scored or failed.

        Raises:
            NasError: A user's mistake, or too many failures in a row.
        """
        try:
            return self._end(trial, architecture, snapshot)
        except optuna.exceptions.UpdateFinishedTrialError:
            self._warn_of_loss(trial)
            return False
        except BaseException:
            self._release(trial)
            raise

    def _end(self, trial: Trial, architecture: Architecture, snapshot: StudySnapshot) -> bool:
        self._describe(trial, architecture)
        if architecture.id in snapshot.known:
            return self._repeat(trial, snapshot.known[architecture.id])
        if not self.objective.feasible(architecture):
            self.over_budget += 1
            self._tell(trial, state=TrialState.PRUNED)
            return False
        with self.coordination.heartbeat(trial):
            outcome = self.coordination.claim(trial, self.config.evaluations)
            if outcome.winner is not None:
                return self._repeat(trial, outcome.winner)
            if outcome.decision is Decision.NO_PLACE:
                trial.set_user_attr(WITHDRAWN, True)
                self._tell(trial, state=TrialState.FAIL)
                return False
            return self._score(trial, architecture, snapshot)

    def _describe(self, trial: Trial, architecture: Architecture) -> None:
        """Attach the attributes that are known without scoring."""
        costs = self.objective.costs(architecture)
        trial.set_user_attr("architecture", architecture.to_dict())
        trial.set_user_attr("parameters", costs.parameters)
        trial.set_user_attr("unet_ms", costs.unet_ms)
        trial.set_user_attr("provenance", costs.provenance)
        trial.set_user_attr("runtime", costs.runtime)
        for name in ("memory_bytes", "low_ms", "high_ms", "interval_percent"):
            if getattr(costs, name) is not None:
                trial.set_user_attr(name, getattr(costs, name))
        if costs.devices:
            trial.set_user_attr("device", costs.device)
            trial.set_user_attr("devices", {name: latency.to_dict() for name, latency in costs.devices.items()})
        for name, excess in self.objective.constraints(architecture).items():
            trial.set_constraint(name, excess)

    def _repeat(self, trial: Trial, earlier: FrozenTrial) -> bool:
        """Give a repeated proposal the result of the first one; it is not scored and does not count."""
        trial.set_user_attr("duplicate_of", earlier.number)
        if earlier.state == TrialState.COMPLETE:
            self._tell(trial, earlier.values)
        else:
            self._tell(trial, state=TrialState.FAIL)
        self.repeated += 1
        return False

    def _score(self, trial: Trial, architecture: Architecture, snapshot: StudySnapshot) -> bool:
        died = snapshot.deaths.get(architecture.id, 0)
        if died >= MAX_DEATHS:
            self._fail(trial, architecture, f"{died} workers died while they scored it")
            return True
        try:
            quality = self._untold.get(architecture.id)
            quality = self._raced(architecture, snapshot) if quality is None else quality
        except Exception as error:
            if is_mistake(error):  # the architecture is left for the next run
                raise
            self._fail(trial, architecture, f"{type(error).__name__}: {error}", error)
            return True
        self._untold[architecture.id] = quality
        if quality.parts:
            trial.set_user_attr(PARTS, list(quality.parts))
        told = self._tell(trial, [quality.value, self.objective.second(architecture)])
        if told:
            del self._untold[architecture.id]
            self.scored += 1
            self._failures.end_of_row()
        return told

    def _raced(self, architecture: Architecture, snapshot: StudySnapshot) -> Score:
        direction = self.objective.quality.direction
        front = leading(snapshot.known, (direction, "minimize"))
        return self.race.score(architecture, _rival(self.objective.second(architecture), front, direction))

    def _fail(self, trial: Trial, architecture: Architecture, failure: str, error: Exception | None = None) -> None:
        """Record a failed evaluation; give up when there are too many in a row."""
        self._failures.add(architecture, failure)
        trial.set_user_attr("failure", failure)
        self._tell(trial, state=TrialState.FAIL)
        self.scored += 1
        self._failures.check(error)

    def _tell(self, trial: Trial, values: list[float] | None = None, state: TrialState | None = None) -> bool:
        """End a trial in the storage; `False` if another worker had ended it before."""
        told = self.study.tell(trial, values, state=state, skip_if_finished=True)
        if told.state != (state or TrialState.COMPLETE):
            self._warn_of_loss(trial)
            return False
        return True

    def _warn_of_loss(self, trial: Trial) -> None:
        logger.warning(
            "another worker failed trial %d, because the heartbeats of this one were missing; the search continues",
            trial.number,
        )

    def _release(self, trial: Trial) -> None:
        """Release the architecture at once if possible; otherwise the missing heartbeats do."""
        with self.coordination.without_retries(), contextlib.suppress(SQLAlchemyError, OptunaError):
            trial.set_user_attr(RELEASED, True)
            self._tell(trial, state=TrialState.FAIL)


def _rival(second: float, front: Sequence[FrozenTrial], direction: Direction) -> Score | None:
    """The score of the best architecture that is no slower.

    Args:
        second: The second objective of the new architecture, such as its latency.
        front: The trials on the front.
        direction: Direction of quality.
    """
    no_slower = [trial for trial in front if trial.values[1] <= second]
    if not no_slower:
        return None
    best = (min if direction == "minimize" else max)(no_slower, key=lambda trial: trial.values[0])
    return Score(best.values[0], tuple(best.user_attrs.get(PARTS, ())))
