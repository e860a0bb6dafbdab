"""Studies that others wrote into: what is damaged is named in one line, what is somebody else's is left out."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import NasError
from nas.quality import MeanScore
from nas.search import SearchConfig, load_study, rescore, run_search
from nas.search.results.reading import read_study
from nas.search.storage.contents import check_trials
from nas.search.workers.snapshot import read_snapshot
from tests.search.problem import FormulaLatency, FormulaQuality, small_space

SPACE = small_space()


class InParts(FormulaQuality):
    """In two parts, as a loss over batches is."""

    def score(self, architecture):
        score = super().score(architecture)
        return MeanScore((score - 1, score + 1))


class Expensive(InParts):
    name = "expensive loss"


@pytest.fixture(scope="module")
def attributes(whole):
    """What stands in that study."""
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{whole}")
    return study.user_attrs, study.trials


def run(database, evaluations):
    config = SearchConfig(sampler="random", evaluations=evaluations)
    return run_search(SPACE, FormulaLatency(SPACE), InParts(), config, database, "s")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of a few architectures, the front scored again, in one file."""
    database = tmp_path_factory.mktemp("whole") / "study.db"
    run(database, 4)
    rescore(database, "s", Expensive())
    return database


@pytest.fixture
def database(whole, tmp_path):
    return shutil.copy(whole, tmp_path / "study.db")


def execute(database, statement, *values):
    with sqlite3.connect(database) as connection:
        assert connection.execute(statement, values).rowcount > 0
    connection.close()


def set_trial_attr(database, name, text):
    execute(database, "UPDATE trial_user_attributes SET value_json = ? WHERE key = ?", text, name)


def set_study_attr(database, name, text):
    execute(database, "UPDATE study_user_attributes SET value_json = ? WHERE key LIKE ?", text, name)


DAMAGES = {
    "no JSON": (lambda one: set_study_attr(one, "identity", "{"), "cannot be used"),
    "no mapping": (lambda one: set_study_attr(one, "identity", "[1]"), "identity: expected a mapping"),
    "another direction": (
        lambda one: execute(one, "UPDATE study_directions SET direction = 'MAXIMIZE' WHERE objective = 0"),
        "objectives",
    ),
    "an unknown direction": (
        lambda one: execute(one, "UPDATE study_directions SET direction = 'SIDEWAYS'"), "cannot be used",
    ),
    "an unknown state": (lambda one: execute(one, "UPDATE trials SET state = 'ASLEEP'"), "cannot be used"),
    "an unknown date": (lambda one: execute(one, "UPDATE trials SET datetime_start = 'soon'"), "cannot be used"),
    "an unknown distribution": (
        lambda one: execute(one, "UPDATE trial_params SET distribution_json = '{\"name\": \"x\"}'"), "cannot be used",
    ),
    "one value": (lambda one: execute(one, "DELETE FROM trial_values WHERE objective = 1"), "got 1 values"),
    "no latency": (lambda one: set_trial_attr(one, "unet_ms", "null"), r"trial \d+: unet_ms: expected a number"),
    "latency is NaN": (lambda one: set_trial_attr(one, "unet_ms", "NaN"), r"trial \d+: unet_ms: "),
    "negative latency": (lambda one: execute(one, "UPDATE trial_values SET value = -1"), "latency_ms: .* at least 0"),
    "infinite quality": (
        lambda one: execute(one, "UPDATE trial_values SET value = NULL, value_type = 'INF_POS' WHERE objective = 0"),
        "quality: ",
    ),
    "an attribute removed": (
        lambda one: execute(one, "DELETE FROM trial_user_attributes WHERE key = 'runtime'"), "key runtime is missing",
    ),
    "parts are a number": (lambda one: set_trial_attr(one, "quality_parts", "1"), r"trial \d+: quality_parts: "),
    "a part is text": (lambda one: set_trial_attr(one, "quality_parts", '[1, "x"]'), r"trial \d+: quality_parts"),
    "a part is NaN": (lambda one: set_trial_attr(one, "quality_parts", "[1, NaN]"), r"trial \d+: quality_parts"),
    "architecture is text": (lambda one: set_trial_attr(one, "architecture", '"x"'), "architecture: expected a map"),
    "architecture of another id": (
        lambda one: set_trial_attr(one, "architecture", json.dumps(SPACE.smallest().to_dict() | {"id": "0" * 12})),
        r"trial \d+: architecture: id: expected",
    ),
    "architecture without id": (
        lambda one: set_trial_attr(one, "architecture", json.dumps({"space": "small", "layers": {}})),
        "key id is missing",
    ),
    "rescored with text": (lambda one: set_study_attr(one, "rescored/%", '{"score": "high"}'), "rescored/.*score"),
    "rescored with NaN": (lambda one: set_study_attr(one, "rescored/%", '{"score": NaN}'), "rescored/.*score"),
    "rescored with a part of text": (
        lambda one: set_study_attr(one, "rescored/%", '{"score": 1, "parts": [1, "x"]}'), "rescored/.*parts",
    ),
    "rescored with nothing": (lambda one: set_study_attr(one, "rescoring", "null"), "rescoring: expected a mapping"),
    "a table removed": (lambda one: execute_script(one, "DROP TABLE trial_values"), "got 0 values"),
    "a version removed": (lambda one: execute_script(one, "DELETE FROM version_info"), None),
}  # fmt: skip


def execute_script(database, text):
    with sqlite3.connect(database) as connection:
        connection.executescript(text)
    connection.close()


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_named_in_one_line(database, name):
    damage, words = DAMAGES[name]
    damage(database)

    if words is None:
        assert len(load_study(database, "s").evaluations) == 4
        return
    calls = [lambda: load_study(database, "s"), lambda: rescore(database, "s", Expensive())]
    # A search needs to know nothing of what was scored again, and its own identity tells it the directions.
    calls += [] if name.startswith(("rescored", "another direction")) else [lambda: run(database, 5)]
    for call in calls:
        with pytest.raises(NasError, match=words) as caught:
            call()
        assert "study.db" in str(caught.value)


def test_trials_of_somebody_else_are_left_out_and_counted(database, caplog):
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{database}")
    for values in ([1.0, 2.0], [float("inf"), 0.0]):
        study.add_trial(optuna.trial.create_trial(values=values))
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    study.set_user_attr("notes", {"by": "a colleague"})

    with caplog.at_level(logging.WARNING, "nas"):
        record = load_study(database, "s")

    assert len(record.evaluations) == 4
    assert "trials with results left out: 2, " in caplog.text
    assert len(run(database, 6).record.evaluations) == 6


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["identity", "rescoring", "architecture", "unet_ms", "parameters", "provenance", "runtime",
        "quality_parts", "duplicate_of", "failure", "claim", "released", "withdrawn"]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(KEYS), PLAIN)
def test_no_value_of_an_attribute_ends_in_a_traceback(attributes, key, value):
    attrs, trials = attributes
    study = optuna.create_study(study_name="s", directions=["minimize", "minimize"])
    for name, attr in ({**attrs, key: value} if key in attrs else attrs).items():
        study.set_user_attr(name, attr)
    for number, trial in enumerate(trials):
        changed = {} if key in attrs or number else {key: value}
        study.add_trial(optuna.trial.create_trial(values=trial.values, user_attrs={**trial.user_attrs, **changed}))

    try:
        check_trials(study, where="here")
        said = json.dumps([one.to_dict() for one in read_study(study, where="here").final.front], allow_nan=False)
        read_snapshot(study)
    except NasError as error:
        said = str(error)
        assert said.startswith("here: ")
    assert said.splitlines() == [said]
    assert len(said) < 1000
