"""Scoring against a rival in a search: who is scored on how much, by a test of another library, and what it saves."""

from __future__ import annotations

from statistics import fmean

import pytest
from scipy import stats

from nas.search import SearchConfig, load_study, run_search
from tests.search.problem import FormulaLatency, small_space
from tests.search.test_halving import InParts

SPACE = small_space()
MOST, FIRST = 16, 4


class Upwards(InParts):
    """The same metric with the opposite sign, to be maximised."""

    direction = "maximize"

    def score_parts(self, architecture, numbers):
        return [-part for part in super().score_parts(architecture, numbers)]


def search(storage, quality, first=FIRST, evaluations=24):
    config = SearchConfig(first_batches=first, evaluations=evaluations)
    return run_search(SPACE, FormulaLatency(SPACE), quality, config, storage, "s").record


@pytest.fixture(scope="module", params=[InParts, Upwards])
def raced(request, tmp_path_factory):
    """A search, and the metric with its calls."""
    quality = request.param(MOST, noise=0.4)
    return search(tmp_path_factory.mktemp("racing") / "s.db", quality), quality


def rival(evaluation, record, sign):
    """The best evaluation before this one that is no slower."""
    before = [other for other in record.evaluations if other.trial < evaluation.trial]
    no_slower = [other for other in before if other.latency_ms <= evaluation.latency_ms]
    return min(no_slower, key=lambda other: sign * other.quality, default=None)


def beaten(parts, others, sign):
    """Whether the first parts are worse than those of the rival, by the paired test of scipy."""
    one_by_one = [sign * part for part in parts], [sign * part for part in others[: len(parts)]]
    return fmean(one_by_one[0]) > fmean(one_by_one[1]) and stats.ttest_rel(*one_by_one).pvalue < 0.05


def test_scoring_ends_where_the_rival_is_clearly_better(raced):
    record, quality = raced
    sign = 1 if quality.direction == "minimize" else -1
    lengths = set()
    for one in record.evaluations:
        other = rival(one, record, sign)
        levels = [level for level in (4, 8) if level <= len(one.quality_parts)] if other else []
        for level in levels:
            ended_here = len(one.quality_parts) == level
            assert beaten(one.quality_parts[:level], other.quality_parts, sign) == ended_here
        lengths.add(len(one.quality_parts))
    assert lengths > {FIRST, MOST}


def test_a_beaten_architecture_stays_behind_its_rival_by_what_was_measured(raced):
    record, quality = raced
    sign = 1 if quality.direction == "minimize" else -1
    for one in record.evaluations:
        if len(one.quality_parts) == MOST:
            assert one.quality == pytest.approx(fmean(one.quality_parts))
            continue
        other = rival(one, record, sign)
        gap = fmean(one.quality_parts) - fmean(other.quality_parts[: len(one.quality_parts)])
        assert one.quality == pytest.approx(other.quality + gap)
    assert all(len(member.quality_parts) == MOST for member in record.front)


def test_no_part_is_scored_twice_and_many_are_saved(raced):
    record, quality = raced
    assert len(quality.calls) == len(set(quality.calls)) == sum(len(one.quality_parts) for one in record.evaluations)
    assert len(quality.calls) < 0.75 * MOST * len(record.evaluations)
    assert record.agreement.parts == FIRST


def test_with_as_many_first_parts_as_there_are_all_are_scored_alike(tmp_path):
    record = search(tmp_path / "s.db", InParts(MOST), first=MOST)
    assert {len(one.quality_parts) for one in record.evaluations} == {MOST}
    assert all(one.quality == fmean(one.quality_parts) for one in record.evaluations)


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(tmp_path, raced):
    whole, quality = raced
    make = type(quality)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "s.db", make(MOST, noise=0.4, stop=quality.calls.index(quality.calls[-FIRST])))
    record = search(tmp_path / "s.db", make(MOST, noise=0.4))
    scored = {one.architecture.id: one.quality for one in load_study(tmp_path / "s.db", "s").evaluations}
    assert record.evaluations[:5] == whole.evaluations[:5]
    assert scored.keys() == {one.architecture.id for one in whole.evaluations}
