"""Reading a study's trials: what is known, what was broken off, what leads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.search.pareto import Direction, pareto_front
from nas.space import Architecture

Known = Mapping[str, FrozenTrial]
"""By id of the architecture, the trial that scored it, failed to, or is doing so elsewhere."""


def known_trials(study: optuna.Study) -> Known:
    """The architectures that must not be scored again."""
    found: dict[str, FrozenTrial] = {}
    states = (TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING)
    for trial in study.get_trials(deepcopy=False, states=states):
        described = "architecture" in trial.user_attrs and "duplicate_of" not in trial.user_attrs
        if described and not _broken_off(trial):
            found.setdefault(trial.user_attrs["architecture"]["id"], trial)
    return found


def interrupted(study: optuna.Study) -> list[Architecture]:
    """Architectures whose scoring ended with its process, not with a result."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return [_architecture(trial) for trial in trials if _broken_off(trial) and "architecture" in trial.user_attrs]


def leading(known: Known, directions: Sequence[Direction]) -> list[FrozenTrial]:
    """The feasible trials on the front, in the order of their numbers."""
    scored = [trial for trial in known.values() if trial.state == TrialState.COMPLETE and _feasible(trial)]
    points = np.array([trial.values for trial in scored]).reshape(-1, len(directions))
    return [trial for trial, leads in zip(scored, pareto_front(points, directions), strict=True) if leads]


def architectures(trials: Sequence[FrozenTrial]) -> list[Architecture]:
    """What the trials scored."""
    return [_architecture(trial) for trial in trials]


def idle_evaluations(known: Known, front: Sequence[FrozenTrial]) -> int:
    """How many evaluations in a row, up to now, left the front as it was."""
    last = max((trial.number for trial in front), default=-1)
    return sum(trial.number > last for trial in known.values())


def _broken_off(trial: FrozenTrial) -> bool:
    attrs = trial.user_attrs
    return trial.state == TrialState.FAIL and "failure" not in attrs and "duplicate_of" not in attrs


def _feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())


def _architecture(trial: FrozenTrial) -> Architecture:
    return Architecture.from_dict(trial.user_attrs["architecture"], where=f"trial {trial.number}")
