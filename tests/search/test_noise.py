"""The noise of scores: against scipy's tests, and in simulations in which the truth is known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from nas.cli import app
from nas.quality import MeanScore
from nas.report import draw_front
from nas.search import SearchConfig, choose, choose_by_score, load_study, pick, run_search
from nas.search.noise.differences import (
    critical_t,
    difference,
    own_standard_errors,
    standard_error,
    successive_differences,
)
from nas.search.results.choosing import Choice
from nas.search.results.neighbours import front_rows, steps_sentence
from tests.search.problem import FormulaLatency, FormulaQuality, small_space

SPACE = small_space()
SHARED = np.random.default_rng(5).normal(0, 3, 8)
"""What the parts of all architectures share; larger than what they differ by."""


def own_noise(architecture):
    noise = np.random.default_rng(int(architecture.id, 16)).normal(0, 1, 8)
    return noise - noise.mean()


class Noisy(FormulaQuality):
    """The loss as a mean of eight parts, with noise that all architectures share and noise of their own."""

    def score(self, architecture):
        return MeanScore(super().score(architecture) + SHARED + own_noise(architecture))


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """A study of the whole space, scored in parts."""
    path = tmp_path_factory.mktemp("noise") / "s.db"
    run_search(SPACE, FormulaLatency(SPACE), Noisy(), SearchConfig(sampler="exhaustive"), path, "s")
    return path


@pytest.fixture(scope="module")
def record(storage):
    return load_study(storage, "s")


def nas(*arguments):
    ended = CliRunner().invoke(app, [*map(str, arguments)])
    assert ended.exit_code == 0, ended.output
    return ended.output


def tied(first, second):
    """Whether scipy's paired t-test leaves the order of two evaluations open."""
    return stats.ttest_rel(first.quality_parts, second.quality_parts).pvalue > 0.05


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 8, 31, 63, 256])
def test_the_limit_is_that_of_students_t(freedom):
    assert critical_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-9)


@pytest.mark.parametrize("parts", [2, 3, 8, 64])
def test_a_difference_is_a_paired_t_test_over_the_common_parts(parts):
    rng = np.random.default_rng(parts)
    for gap in np.linspace(-2, 2, 41):
        first = rng.normal(size=parts)
        second = first + rng.normal(gap, 1, size=parts)
        gap_found = difference([*first, 1e6, -1e6], second)
        expected = stats.ttest_rel(first, second)
        assert gap_found.parts == parts
        assert gap_found.mean == pytest.approx(first.mean() - second.mean())
        assert gap_found.errors == pytest.approx(abs(expected.statistic))
        assert gap_found.distinguishable == (expected.pvalue < 0.05)


def test_a_standard_error_is_that_of_the_mean_and_unknown_without_parts():
    parts = np.random.default_rng(0).normal(size=8).tolist()
    assert standard_error(parts) == pytest.approx(stats.sem(parts))
    assert standard_error(()) is standard_error((1.0,)) is None
    assert difference((1.0,), (2.0, 3.0)) is None
    assert successive_differences([(), (1.0, 2.0)]) == [None]


def test_differences_without_any_spread():
    assert not difference((1.0, 2.0), (1.0, 2.0)).distinguishable
    assert difference((1.0, 2.0), (3.0, 4.0)).distinguishable


def test_own_errors_leave_out_what_is_shared():
    rng = np.random.default_rng(1)
    spreads, shared = np.repeat([0.1, 0.2, 0.4], 20), rng.normal(0, 10, 400)
    rows = shared + rng.normal(size=(60, 400)) * spreads[:, None]
    own = np.array(own_standard_errors(rows.tolist())).reshape(3, 20).mean(axis=1)
    assert own == pytest.approx(np.array([0.1, 0.2, 0.4]) / 20, rel=0.05)
    # Of two architectures, the mean is halfway: each has half of the variance of their difference.
    pair = own_standard_errors(rows[:2].tolist())
    assert pair == pytest.approx([difference(rows[0], rows[1]).standard_error / math.sqrt(2)] * 2)
    assert own_standard_errors([[1.0, 2.0]]) == [None]
    assert own_standard_errors([(), (1.0,)]) == [None, None]


def test_equal_architectures_are_told_apart_as_often_as_is_said():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 5, 8)
    told = [difference(shared + rng.normal(size=8), shared + rng.normal(size=8)).distinguishable for _ in range(4000)]
    assert np.mean(told) == pytest.approx(0.05, abs=0.012)  # 3.5 standard errors of 4,000 draws


def test_each_step_of_the_front_is_compared(record):
    rows = front_rows(record)
    assert rows[0]["from_previous"] is None
    for row, member, before in zip(rows[1:], record.front[1:], record.front, strict=False):
        expected = stats.ttest_rel(member.quality_parts, before.quality_parts)
        assert row["standard_error"] == pytest.approx(stats.sem(member.quality_parts))
        assert row["from_previous"]["errors"] == pytest.approx(abs(expected.statistic))
        assert row["from_previous"]["distinguishable"] == (expected.pvalue < 0.05)
    clear = sum(not tied(one, before) for one, before in zip(record.front[1:], record.front, strict=False))
    assert 0 < clear < len(record.front) - 1
    assert steps_sentence(record).startswith(f"{clear} of {len(record.front) - 1} step")


def test_the_fastest_of_those_that_noise_cannot_tell_from_the_best_is_chosen(record):
    otherwise = 0
    for best in record.front:
        found = choose(record, best.latency_ms)
        assert found.by_score == best == choose_by_score(record, best.latency_ms).member
        level = [one for one in record.front if one.latency_ms <= best.latency_ms and (one is best or tied(one, best))]
        assert found.member == level[0] == pick(record, best.latency_ms)
        otherwise += found.member is not best
        assert (found.sentence() != "") == (found.member is not best)
    assert otherwise

    knee = choose(record)
    assert knee.by_score == record.knee()
    assert all(not tied(one, knee.by_score) for one in record.front if one.latency_ms < knee.member.latency_ms)


def test_scores_without_parts_decide_alone(tmp_path):
    config = SearchConfig(sampler="exhaustive")
    found = run_search(SPACE, FormulaLatency(SPACE), FormulaQuality(), config, tmp_path / "s.db", "s").record

    for member in found.front:
        assert choose(found, member.latency_ms) == Choice(member, member)
    assert steps_sentence(found) == ""
    assert not draw_front(found).axes[0].containers


def test_commands_say_what_is_noise(record, storage, tmp_path):
    study = ("--study", "s", "--storage", storage)
    best = next(one for one in reversed(record.front) if choose(record, one.latency_ms).member is not one)
    chosen = choose(record, best.latency_ms)
    budget = ("--latency-budget-ms", best.latency_ms, "--out", tmp_path / "a.yaml")

    said = json.loads(nas("pick", *study, *budget, "--json"))
    assert (said["id"], said["by_score"]["id"]) == (chosen.member.architecture.id, best.architecture.id)
    said = " ".join(nas("pick", *study, *budget).split())
    assert f"{chosen.sentence()} (--exact takes the other)" in said
    assert f"{best.architecture.id} has the better score" in said
    exact = json.loads(nas("pick", *study, *budget, "--exact", "--json"))
    assert (exact["id"], exact["reason"]) == (best.architecture.id, None)

    assert json.loads(nas("front", *study, "--json"))["front"] == json.loads(json.dumps(front_rows(record)))
    assert steps_sentence(record) in nas("front", *study)


def test_the_figure_has_a_bar_for_the_noise_of_each_member(record):
    (bars,) = draw_front(record).axes[0].containers
    segments = bars.lines[2][0].get_segments()
    errors = own_standard_errors([one.quality_parts for one in record.front])
    assert [np.ptp(segment[:, 1]) / 2 for segment in segments] == pytest.approx(errors)
