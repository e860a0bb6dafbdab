"""Accesses whose connection fails: repeated, to the same effect, and not for ever."""

from __future__ import annotations

import logging

import optuna
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import DataError, OperationalError

from nas.search.storage.retrying import RetryingStorage


def lost(error=OperationalError):
    """What Optuna makes of an error of the database."""
    failure = StorageInternalError("commit")
    failure.__cause__ = error("statement", {}, Exception("server closed the connection unexpectedly"))
    return failure


class Flaky(RDBStorage):
    """A real storage that loses the connection so many times, before or after it did what was asked."""

    before, after, error = 0, 0, OperationalError

    def _lose(self, access, *args, **kwargs):
        if self.before:
            self.before -= 1
            raise lost(self.error)
        result = access(*args, **kwargs)
        if self.after:
            self.after -= 1
            raise lost(self.error)
        return result

    def set_trial_state_values(self, *args, **kwargs):
        return self._lose(super().set_trial_state_values, *args, **kwargs)

    def set_trial_user_attr(self, *args, **kwargs):
        return self._lose(super().set_trial_user_attr, *args, **kwargs)

    def _set_trial_param(self, *args, **kwargs):
        return self._lose(super()._set_trial_param, *args, **kwargs)

    def _get_trials(self, *args, **kwargs):
        return self._lose(super()._get_trials, *args, **kwargs)


@pytest.fixture
def backend(tmp_path):
    return Flaky(f"sqlite:///{tmp_path}/study.db")


@pytest.fixture
def study(backend):
    return optuna.create_study(storage=RetryingStorage(backend, outage_s=30))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_trial_through_lost_connections_is_as_without(study, backend, moment):
    trial = study.ask()
    setattr(backend, moment, 2)
    trial.suggest_categorical("slot", ["none", "conv1d"])
    setattr(backend, moment, 1)
    trial.set_user_attr("claim", "scoring")
    setattr(backend, moment, 1)
    study.tell(trial, 0.25)
    setattr(backend, moment, 1)

    (told,) = study.get_trials()
    assert (told.state, told.values, told.user_attrs) == (TrialState.COMPLETE, [0.25], {"claim": "scoring"})
    assert told.params == trial.params


def test_a_trial_that_ended_otherwise_is_no_success(study):
    trial = study.ask()
    study.tell(trial, 0.25)

    with pytest.raises(UpdateFinishedTrialError):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])


@pytest.mark.slow
def test_an_outage_is_announced_once_and_has_an_end(study, backend, caplog):
    backend.before = 1000
    study._storage.outage_s = 1.0

    with caplog.at_level(logging.WARNING, "nas"), pytest.raises(StorageInternalError):
        study.get_trials()

    (warning,) = [record.getMessage() for record in caplog.records if record.name == "nas"]
    assert warning == (
        "the database of the study is away (server closed the connection unexpectedly); waiting for it, 1 s at most"
    )
    assert 2 <= 1000 - backend.before <= 6


def test_what_the_database_refuses_is_not_repeated(study, backend):
    backend.before, backend.error = 5, DataError

    with pytest.raises(StorageInternalError):
        study.get_trials()

    assert backend.before == 4
