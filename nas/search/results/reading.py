"""Reading the results of a study from its storage."""

from __future__ import annotations

import logging
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.errors import ConfigError
from nas.search.latencies.devices import WORST
from nas.search.results.evaluation import Evaluation, FrontMember
from nas.search.results.record import StudyRecord
from nas.search.storage.address import shown
from nas.search.storage.contents import Identity, is_foreign, read_architecture, read_identity, read_scored
from nas.search.storage.final_scores import read_final_scores
from nas.search.storage.studies import readable_study

logger = logging.getLogger("nas")


def load_study(storage: str | Path, study_name: str) -> StudyRecord:
    """Read a study.

    Args:
        storage: Path of a SQLite file, which is only read, or a storage URL.
        study_name: Name of the study.

    Raises:
        StorageError: The storage cannot be opened, or holds no such study.
        ConfigError: The study was not made by `nas search`, or is damaged.
    """
    with readable_study(storage, study_name) as study:
        return read_study(study, where=shown(storage))


def load_front(storage: str | Path, study_name: str) -> list[FrontMember]:
    """The final front of a study, fastest first; raises as `load_study`."""
    return list(load_study(storage, study_name).final.front)


def read_study(study: optuna.Study, *, where: str) -> StudyRecord:
    """Read an open Optuna study; raises as `load_study`."""
    place = f"{where}: study {study.study_name}"
    identity = read_identity(study, where=place)
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    first = [trial for trial in trials if "duplicate_of" not in trial.user_attrs]
    foreign = sum(map(is_foreign, first))
    if foreign:
        logger.warning("%s: trials with results left out: %d, which `nas search` did not make", place, foreign)
    scored = [trial for trial in first if trial.state == TrialState.COMPLETE and not is_foreign(trial)]
    return StudyRecord(
        name=study.study_name,
        where=where,
        space=identity.space,
        quality=identity.quality_metric,
        direction=identity.direction,
        steps=identity.steps,
        device=identity.device,
        runtime=identity.runtime,
        latency_budget_ms=identity.limit_ms,
        evaluations=tuple(_evaluation(trial, identity, place) for trial in scored),
        failed=sum("failure" in trial.user_attrs for trial in first),
        final_scores=read_final_scores(study.user_attrs, where=place),
        devices=identity.devices,
        limits_ms=identity.limits_ms,
        which=identity.second_objective,
        weights=identity.weights,
    )


def _evaluation(trial: FrozenTrial, identity: Identity, where: str) -> Evaluation:
    scored = read_scored(trial, where=where)
    if scored.devices.keys() != identity.devices.keys():
        names = [", ".join(devices) or "none" for devices in (scored.devices, identity.devices)]
        raise ConfigError(f"devices: {names[0]}, but those of the study are {names[1]}",
                          where=f"{where}: trial {trial.number}")  # fmt: skip
    return Evaluation(
        architecture=read_architecture(trial, where=where),
        **dict(scored),
        trial=trial.number,
        feasible=all(value <= 0 for value in trial.constraints.values()),
        share=trial.values[1] if identity.second_objective == WORST else None,
    )
