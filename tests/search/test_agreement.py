"""Two halves of the held-out data: in closed form, through storage, resumption and a second stage, and on screen."""

from __future__ import annotations

import json
import math
import random
import shutil
import sqlite3
from statistics import fmean

import optuna
import pytest
from scipy.stats import kendalltau
from typer.testing import CliRunner

from nas.cli import app
from nas.quality import MeanScore
from nas.search import SearchConfig, load_study, rescore, run_search
from nas.search.noise.agreement import HalvesAgreement, halves_agreement
from tests.search.problem import FormulaLatency, FormulaQuality, formula_loss, small_space

SPACE = small_space()


class InParts(FormulaQuality):
    """The loss as a mean of four parts, which are it with noise of their own."""

    def __init__(self, noise=1.0):
        super().__init__()
        self.noise = noise

    def score(self, architecture):
        self.calls.append(architecture.id)
        return MeanScore(self.parts(architecture))

    def parts(self, architecture):
        draw = random.Random(architecture.id + "parts")
        noise = [self.noise * draw.uniform(-1, 1) for _ in range(4)]
        return tuple(formula_loss(architecture) + each - fmean(noise) for each in noise)


def search(storage, quality, evaluations=24):
    config = SearchConfig(sampler="exhaustive", evaluations=evaluations)
    return run_search(SPACE, FormulaLatency(SPACE), quality, config, storage, "s").record


def tau_of(quality, architectures):
    """By the pairs of architectures: those that both halves order alike, less the others."""
    halves = [[fmean(quality.parts(one)[first::2]) for first in (0, 1)] for one in architectures]
    pairs = [(a, b) for index, a in enumerate(halves) for b in halves[:index]]
    return sum(math.copysign(1, (a[0] - b[0]) * (a[1] - b[1])) for a, b in pairs) / len(pairs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of the whole space, scored in parts; its storage, its metric, and what the search said."""
    database, quality = tmp_path_factory.mktemp("whole") / "s.db", InParts()
    return database, quality, search(database, quality)


@pytest.fixture
def storage(whole, tmp_path):
    """That study, to write into."""
    return shutil.copy(whole[0], tmp_path / "s.db")


def without_parts(storage):
    """As an earlier version has left it."""
    with sqlite3.connect(storage) as database:
        assert database.execute("DELETE FROM trial_user_attributes WHERE key = 'quality_parts'").rowcount > 0
    database.close()
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{storage}")
    for name, value in study.user_attrs.items():
        if name.startswith("rescored/"):
            study.set_user_attr(name, {"score": value["score"]})


@pytest.mark.parametrize(("sign", "tau"), [(1, 1.0), (-1, -1.0)])
@pytest.mark.parametrize("count", [2, 6])
def test_equal_orders_agree_and_reversed_ones_do_not(sign, tau, count):
    rows = [[value, sign * value] * (count // 2) for value in (3.0, 1.0, 2.0, 5.0)]
    assert halves_agreement(rows) == HalvesAgreement(tau, 4, count)


def test_one_pair_of_six_in_another_order():
    assert halves_agreement([[1, 10], [2, 30], [3, 20], [4, 40]]).tau == pytest.approx((5 - 1) / 6)


def test_a_half_is_every_other_part_also_of_an_odd_number():
    rows = [[1, 30, 3], [2, 20, 4], [3, 10, 5]]
    assert halves_agreement(rows) == HalvesAgreement(-1, 3, 3)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(), (), ()],
        [[1.0], [2.0], [3.0]],
        [[1.0, 2.0], [2.0, 3.0]],
        [[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]],
    ],
    ids=["nothing", "no parts", "one part", "two architectures", "a half that tells none apart"],
)
def test_where_nothing_can_be_said_there_is_no_tau(rows):
    assert halves_agreement(rows) is None


def test_architectures_with_more_parts_are_ranked_by_those_that_all_have():
    rows = [[1, 1], [9], [2, 2], (), [3, 3], [4, 4, 0, 0]]
    assert halves_agreement(rows) == HalvesAgreement(1, 4, 2)


def test_parts_are_asked_for_once_and_come_out_of_the_storage(whole):
    database, quality, record = whole

    assert len(quality.calls) == len(set(quality.calls)) == 24
    assert load_study(database, "s") == record
    for one in record.evaluations:
        assert one.quality_parts == quality.parts(one.architecture)
        assert one.quality == fmean(one.quality_parts) == pytest.approx(formula_loss(one.architecture))
    architectures = [one.architecture for one in record.evaluations]
    assert record.agreement.tau == pytest.approx(tau_of(quality, architectures))
    assert (record.agreement.architectures, record.agreement.parts) == (24, 4)
    assert -1 < record.agreement.tau < 1


def test_a_metric_without_parts_has_no_agreement_and_leaves_no_attribute(tmp_path):
    record = search(tmp_path / "s.db", FormulaQuality(), evaluations=5)

    assert record.agreement is None
    trials = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db").trials
    assert not any("quality_parts" in trial.user_attrs for trial in trials)
    assert record.evaluations[3].quality == formula_loss(record.evaluations[3].architecture)


@pytest.mark.parametrize("broken", [(1.0, math.nan, 2.0, 3.0), (1.0, math.inf, -math.inf, 0.0), ()])
def test_parts_that_are_no_numbers_are_a_failed_evaluation(tmp_path, broken):
    class Broken(InParts):
        def parts(self, architecture):
            return broken if len(self.calls) == 2 else super().parts(architecture)

    record = search(tmp_path / "s.db", Broken(), evaluations=5)

    assert (len(record.evaluations), record.failed) == (4, 1)
    assert record.agreement.architectures == 4


def test_a_study_that_goes_on_keeps_the_parts_of_both_runs(tmp_path):
    first = search(tmp_path / "s.db", InParts(), evaluations=3)
    record = search(tmp_path / "s.db", InParts(), evaluations=7)

    assert record.evaluations[:3] == first.evaluations
    architectures = [one.architecture for one in record.evaluations]
    assert record.agreement == HalvesAgreement(pytest.approx(tau_of(InParts(), architectures)), 7, 4)


def test_a_score_that_is_told_again_keeps_its_parts(tmp_path):
    class Overtaken(InParts):
        def score(self, architecture):
            if not self.calls:  # another worker takes this one for dead
                study = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/s.db")
                study.tell(study.trials[-1].number, state=optuna.trial.TrialState.FAIL)
            return super().score(architecture)

    quality = Overtaken()
    record = search(tmp_path / "s.db", quality, evaluations=5)

    assert len(quality.calls) == len(set(quality.calls)) == 5
    assert [one.quality_parts for one in record.evaluations] == [
        quality.parts(one.architecture) for one in record.evaluations
    ]


def test_studies_of_earlier_versions_are_read_and_gone_on_with(tmp_path):
    before = search(tmp_path / "s.db", InParts(), evaluations=6)
    rescore(tmp_path / "s.db", "s", InParts(), members=6)
    without_parts(tmp_path / "s.db")

    record = load_study(tmp_path / "s.db", "s")
    assert [one.quality for one in record.evaluations] == [one.quality for one in before.evaluations]
    assert len(record.final.evaluations) == 6
    assert record.agreement is record.final.agreement is None

    quality = InParts()
    record = search(tmp_path / "s.db", quality, evaluations=10)
    assert len(quality.calls) == 4
    assert record.agreement.architectures == 4


def test_second_scores_keep_their_own_parts(storage):
    class Careful(InParts):
        name = "careful loss"

    quality = Careful(noise=0.1)
    result = rescore(storage, "s", quality, members=12)

    record = load_study(storage, "s")
    assert record == result.record
    assert len(quality.calls) == len(set(quality.calls)) == 12
    for one in record.final.evaluations:
        assert one.quality == fmean(one.quality_parts)
        assert one.quality_parts == quality.parts(one.architecture)
    again = [one.architecture for one in record.final.evaluations]
    assert record.final.agreement.tau == pytest.approx(tau_of(quality, again))
    assert record.searched.agreement.tau == pytest.approx(tau_of(InParts(), SPACE.enumerate()))
    assert rescore(storage, "s", Careful(noise=0.1), members=12).record == record


def test_second_scores_without_parts_do_not_borrow_those_of_the_search(storage):
    class Dear(FormulaQuality):
        name = "dear loss"

    record = rescore(storage, "s", Dear(), members=12).record

    assert all(one.quality_parts == () for one in record.final.evaluations)
    assert record.final.agreement is None
    assert record.agreement.architectures == 24


def test_front_says_it_to_people_and_to_scripts(storage):
    def front(*options):
        ended = CliRunner().invoke(app, ["front", "--study", "s", "--storage", str(storage), *options])
        assert ended.exit_code == 0, ended.output
        return ended.output

    quality = InParts()
    halves = [[fmean(quality.parts(one)[first::2]) for one in SPACE.enumerate()] for first in (0, 1)]
    tau = kendalltau(*halves).statistic
    said = json.loads(front("--json"))["agreement"]
    assert said == {"tau": pytest.approx(tau), "architectures": 24, "parts": 4}
    line = f"two halves of the held-out probes, 4 parts in all, rank 24 architectures at a Kendall tau of {tau:.2f}"
    assert line in front().splitlines()

    without_parts(storage)
    assert json.loads(front("--json"))["agreement"] is None
    assert "Kendall" not in front()
