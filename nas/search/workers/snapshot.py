"""A snapshot of a study's trials: what is scored, what was interrupted, what is on the front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.quality.base import Direction
from nas.search.pareto import hypervolume, pareto_front
from nas.search.storage.contents import ARCHITECTURE, WITHDRAWN, read_architecture
from nas.space import Architecture

Known = Mapping[str, FrozenTrial]
"""For each id of an architecture, the trial that has scored it, has failed, or is scoring it now."""

CLAIM, CLAIMED, SCORING = "claim", "claimed", "scoring"
"""Trial attribute and its values: a worker claims the architecture, or scores it. See `workers.claims`."""

RELEASED = "released"
"""Trial attribute: the worker was stopped and released the architecture, which does not count as a death."""


@dataclass(frozen=True)
class StudySnapshot:
    """The state of a study at one moment.

    Args:
        known: The architectures that must not be scored again.
        interrupted: Architectures whose scoring was interrupted and that no worker has taken over, oldest first.
        deaths: By id of an architecture, how many workers died while they scored it.
    """

    known: Known
    interrupted: tuple[Architecture, ...]
    deaths: Mapping[str, int]


def read_snapshot(study: optuna.Study) -> StudySnapshot:
    """Read all trials of a study."""
    trials = study.get_trials(deepcopy=False)
    known = _known(trials)
    left = [trial for trial in trials if broken_off(trial)]
    deaths = Counter(key(trial) for trial in left if RELEASED not in trial.user_attrs)
    unknown = [trial for trial in left if key(trial) not in known]
    return StudySnapshot(known, tuple(dict.fromkeys(architectures(unknown))), deaths)


def _known(trials: Sequence[FrozenTrial]) -> Known:
    known: dict[str, FrozenTrial] = {}
    # Of several trials of one architecture, a finished one comes first.
    for trial in sorted(filter(counts, trials), key=lambda trial: not trial.state.is_finished()):
        known.setdefault(key(trial), trial)
    return known


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial counts as an evaluation: it has a result, has failed, or has a claim."""
    attrs = trial.user_attrs
    if ARCHITECTURE not in attrs or "duplicate_of" in attrs or WITHDRAWN in attrs:
        return False
    if trial.state == TrialState.RUNNING:
        return CLAIM in attrs
    return trial.state == TrialState.COMPLETE or (trial.state == TrialState.FAIL and "failure" in attrs)


def is_decided(trial: FrozenTrial) -> bool:
    """Whether a trial that counts cannot yield any more."""
    return trial.state.is_finished() or trial.user_attrs[CLAIM] == SCORING


def broken_off(trial: FrozenTrial) -> bool:
    """Whether scoring was interrupted, because the process ended."""
    if trial.state != TrialState.FAIL or ARCHITECTURE not in trial.user_attrs:
        return False
    return not trial.user_attrs.keys() & {"failure", "duplicate_of", WITHDRAWN}


def key(trial: FrozenTrial) -> str:
    """Id of the architecture of a trial."""
    return str(trial.user_attrs[ARCHITECTURE]["id"])


def running(known: Known) -> list[FrozenTrial]:
    """The trials that are being scored or have a claim."""
    return [trial for trial in known.values() if trial.state == TrialState.RUNNING]


def leading(known: Known, directions: Sequence[Direction]) -> list[FrozenTrial]:
    """The feasible trials on the front, in the order of their numbers."""
    scored = _scored(known)
    points = _points(scored, directions)
    return [trial for trial, leads in zip(scored, pareto_front(points, directions), strict=True) if leads]


def front_hypervolume(known: Known, front: Sequence[FrozenTrial], directions: Sequence[Direction]) -> float:
    """The hypervolume of a front up to the worst feasible quality and latency, as `nas front` shows it; 0 of none."""
    points = _points(_scored(known), directions)
    if not len(points):
        return 0.0
    columns = zip(points.T, directions, strict=True)
    worst = [float(column.max() if way == "minimize" else column.min()) for column, way in columns]
    with np.errstate(over="ignore"):  # it is shown, and nothing follows from it
        return hypervolume(_points(front, directions), worst, directions)


def _scored(known: Known) -> list[FrozenTrial]:
    complete = (trial for trial in known.values() if trial.state == TrialState.COMPLETE and _feasible(trial))
    return sorted(complete, key=lambda trial: trial.number)


def _points(trials: Sequence[FrozenTrial], directions: Sequence[Direction]) -> NDArray[np.float64]:
    return np.array([trial.values for trial in trials], dtype=np.float64).reshape(-1, len(directions))


def architectures(trials: Sequence[FrozenTrial]) -> list[Architecture]:
    """The architectures of trials."""
    return [read_architecture(trial) for trial in trials]


def idle_evaluations(known: Known, front: Sequence[FrozenTrial]) -> int:
    """The number of finished evaluations since the front last changed."""
    last = max((trial.number for trial in front), default=-1)
    return sum(trial.number > last and trial.state.is_finished() for trial in known.values())


def _feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())
