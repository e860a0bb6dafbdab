"""Which process owns a running trial, so that its trials can be freed at once when it is known to be dead."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import socket

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from nas.errors import NasError
from nas.search.storage.studies import changeable_study, second_scorings
from nas.search.timing import Timing

OWNER = "worker"
"""Trial attribute: the name of the process that scores the architecture."""


@functools.cache
def worker_name() -> str:
    """A name of this process that no other process has, now or later."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def free_trials_of(owner: str, storage: str, study_name: str) -> None:
    """Fail the running trials of a process that has died, so that other workers take over their architectures.

    If the database does not answer, nothing happens: the missing heartbeats have the same effect, only later.

    Args:
        owner: The name of the process.
        storage: A storage URL.
        study_name: Name of the study that it searched, or whose front it scored again.
    """
    with contextlib.suppress(NasError), changeable_study(storage, study_name, Timing(outage_s=0)) as study:
        for each in (study, *second_scorings(study)):
            _free(each, owner)


def _free(study: optuna.Study, owner: str) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(OWNER) == owner:
            with contextlib.suppress(UpdateFinishedTrialError):
                study.tell(trial.number, state=TrialState.FAIL)
