"""A second scoring in rounds: what it spends batches on, at what cost, and that it resumes; with known noise."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import numpy as np
import optuna
import pytest
from scipy import stats

from nas.quality import MeanScore, QualityMetric
from nas.search import SearchConfig, choose, load_study, pick, rescore, run_search
from nas.search.noise.halving import Halving, comparable_scores, in_doubt, undominated
from nas.search.rescoring.selecting import parts_of_each, parts_sentence, select_doubtful
from nas.search.storage.final_scores import _whole_key, metric_key
from tests.search.problem import FormulaLatency, formula_loss, small_space

SPACE = small_space()
MOST = 64


class InParts(QualityMetric):
    """The loss, scored on parts that share noise and have noise of their own."""

    name, direction = "loss in parts", "minimize"

    def __init__(self, parts=MOST, seed=0, noise=1.0, stop=None):
        self.part_count, self.seed, self.noise, self.stop = parts, seed, noise, stop
        self.fingerprint, self.parts_fingerprint = f"{seed}/{parts}", f"{seed}"
        self.calls = []

    def score(self, architecture):
        return MeanScore(self.score_parts(architecture, range(self.part_count)))

    def score_parts(self, architecture, numbers):
        if self.stop is not None and len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls += [(architecture.id, number) for number in numbers]
        return [formula_loss(architecture) + self.part(architecture, number) for number in numbers]

    def part(self, architecture, number):
        own = np.random.default_rng([int(architecture.id, 16), self.seed, number]).normal(0, self.noise)
        return float(own + np.random.default_rng([self.seed, number]).normal(0, 5))


def search(storage, parts=4, seed=0):
    config = SearchConfig(sampler="exhaustive")
    return run_search(SPACE, FormulaLatency(SPACE), InParts(parts, seed), config, storage, "s").record


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("halving") / "s.db"
    return path, search(path)


@pytest.fixture
def storage(searched, tmp_path):
    (tmp_path / "s.db").write_bytes(searched[0].read_bytes())
    return tmp_path / "s.db"


def dominated(parts, latencies_ms):
    """By scipy: the names that are worse than another, not slower one, with p below 0.05."""
    return {
        name
        for name, row in parts.items()
        for other, its_row in parts.items()
        if latencies_ms[other] <= latencies_ms[name] and np.mean(row) > np.mean(its_row)
        and stats.ttest_rel(row, its_row).pvalue < 0.05
    }  # fmt: skip


def test_what_is_dominated_and_what_is_in_doubt():
    rng = np.random.default_rng(0)
    losses = np.repeat([5.0, 3.0, 4.0, 1.0, 1.05], 2)
    parts = {str(number): (loss + rng.normal(0, 0.3, 8)).tolist() for number, loss in enumerate(losses)}
    latencies_ms = {str(number): float(number) for number in range(10)}

    kept = undominated(parts, latencies_ms, "minimize")
    beaten = dominated(parts, latencies_ms)
    assert set(kept) == set(parts) - beaten
    assert 0 < len(kept) < 10
    tied = {
        one for one in kept for other in kept
        if one != other and stats.ttest_rel(parts[one], parts[other]).pvalue > 0.05
    }  # fmt: skip
    assert set(in_doubt(parts, latencies_ms, "minimize")) == tied
    turned = {name: [-value for value in row] for name, row in parts.items()}
    assert in_doubt(turned, latencies_ms, "maximize") == in_doubt(parts, latencies_ms, "minimize")


def test_scores_with_fewer_parts_are_compared_on_the_common_ones():
    rng = np.random.default_rng(1)
    shared, gaps = rng.normal(0, 5, 64), [0.0, 0.1, 0.2, 0.3]
    rows = {str(gap): (shared + gap)[:count] for gap, count in zip(gaps, (64, 64, 16, 8), strict=True)}
    scores = comparable_scores(rows)
    assert [scores[str(gap)] - scores["0.0"] for gap in gaps] == pytest.approx(gaps)
    assert scores["0.0"] == fmean(rows["0.0"])
    assert comparable_scores({}) == {}


def test_it_stops_at_once_where_nothing_is_in_doubt():
    halving = Halving({"a": 1.0, "b": 2.0}, "minimize", 64, 128)
    assert halving.next_round({}) == {"a": 8, "b": 8}
    clear = {"a": [1.0, 1.1] * 4, "b": [0.0, 0.1] * 4}
    assert halving.next_round(clear) == {}


def test_it_goes_on_to_the_last_part_where_all_is_in_doubt():
    rows = {"a": np.random.default_rng(2).normal(size=64), "b": np.random.default_rng(3).normal(size=64)}
    halving, seen = Halving({"a": 1.0, "b": 2.0}, "minimize", 50, 100), []
    while levels := halving.next_round(rows):
        seen.append(set(levels.values()))
    assert seen == [{8}, {16}, {32}, {50}]
    short = Halving({"a": 1.0, "b": 2.0}, "minimize", 50, 43)
    levels = list(iter(lambda: short.next_round(rows), {}))
    assert levels[-1] == {"a": 21, "b": 21}


def test_batches_go_to_what_is_in_doubt_at_no_more_cost(storage, searched):
    quality = InParts(seed=1)
    result = rescore(storage, "s", quality)

    record = searched[1]
    each = parts_of_each(result.record)
    assert set(each) == {one.architecture.id for one in select_doubtful(record)}
    assert {one.architecture.id for one in record.front} <= set(each)
    assert result.parts == len(quality.calls) == len(set(quality.calls)) == sum(each.values())
    assert result.parts <= MOST * len(record.front)
    counted = Counter(each.values())
    assert len(counted) > 1
    final = result.record.final
    rows = {one.architecture.id: one.quality_parts for one in final.evaluations}
    assert all(rows[name] == tuple(
        formula_loss(one.architecture) + quality.part(one.architecture, number) for number in range(each[name])
    ) for one in final.evaluations for name in [one.architecture.id])  # fmt: skip
    assert {one.architecture.id: one.quality for one in final.evaluations} == comparable_scores(rows)
    assert f"{sum(each.values()):,} batches in all" in parts_sentence(result.record)
    assert rescore(storage, "s", InParts(seed=1)).parts == 0
    assert choose(load_study(storage, "s")).member in final.front


def test_a_run_that_was_broken_off_decides_as_a_whole_one(storage, searched, tmp_path):
    (tmp_path / "whole.db").write_bytes(storage.read_bytes())
    whole = rescore(tmp_path / "whole.db", "s", InParts(seed=1))

    total = 0
    for stop in (40, 16, 200):
        quality = InParts(seed=1, stop=stop)
        with pytest.raises(KeyboardInterrupt):
            rescore(storage, "s", quality)
        total += len(quality.calls)
    result = rescore(storage, "s", InParts(seed=1))
    assert result.record.final_scores == whole.record.final_scores
    assert total + result.parts == whole.parts


def test_parts_of_the_search_with_the_same_seed_count(storage, searched):
    quality = InParts(seed=0)
    result = rescore(storage, "s", quality)

    assert min(number for _, number in quality.calls) == 4
    assert all(each >= 4 for each in parts_of_each(result.record).values())
    more = InParts(parts=128, seed=0)
    again = rescore(storage, "s", more)
    assert not set(more.calls) & set(quality.calls)
    assert again.record.final.quality == "loss in parts"


def test_scores_of_earlier_versions_are_not_made_anew(storage, searched):
    quality = InParts(parts=8, seed=3)
    one = searched[1].front[0].architecture
    parts = quality.score_parts(one, range(8))
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{storage}")
    study.set_user_attr(f"rescored/{_whole_key(quality)}/{one.id}", {"score": fmean(parts), "parts": parts})
    assert _whole_key(quality) != metric_key(quality)

    quality.calls.clear()
    result = rescore(storage, "s", quality)
    assert one.id not in {name for name, _ in quality.calls}
    assert result.record.final_scores.parts[one.id] == tuple(parts)


def test_members_limit_how_many_are_scored(storage, searched):
    front = len(searched[1].front)
    behind = len(select_doubtful(searched[1])) - front
    assert behind > 1
    assert len(select_doubtful(searched[1], front + 1)) == front + 1
    result = rescore(storage, "s", InParts(seed=1), members=front + 1)
    assert len(parts_of_each(result.record)) == front + 1


def test_a_budget_too_small_for_all_candidates_scores_fewer_of_them_and_the_front_first(tmp_path):
    """Where noise hides everything, hundreds may be in doubt. One batch for each would be noisier than the search."""
    noisy = InParts(4, noise=60.0)
    record = run_search(
        SPACE, FormulaLatency(SPACE), noisy, SearchConfig(sampler="exhaustive"), tmp_path / "s.db", "s"
    ).record
    doubtful, front = select_doubtful(record), [member.architecture.id for member in record.front]
    assert len(doubtful) > 3 * len(front)
    result = rescore(tmp_path / "s.db", "s", InParts(8, seed=1, noise=60.0))
    parts = parts_of_each(result.record)
    assert set(parts.values()) == {8}
    assert set(parts) == set(front)
    assert pick(result.record).architecture.id in front


def test_more_candidates_than_parts_do_not_leave_all_without_a_score():
    halving = Halving({str(number): float(number) for number in range(30)}, "minimize", 16, 16)
    assert halving.next_round({}) == {"0": 8, "1": 8}


def test_what_is_picked_is_within_the_noise_of_the_best():
    """On a front of equals, and with the truth known: the best is given up for one that is truly worse rarely."""
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(300):
        # One architecture is truly better than the rest by 3 standard errors of a difference over 64 parts.
        gaps = np.array([0.0, 0.0, 0.0, -3 * np.sqrt(2 / 64)])
        rows = dict(zip("abcd", gaps[:, None] + rng.normal(size=(4, 64)), strict=True))
        halving = Halving(dict(zip("abcd", range(4), strict=True)), "minimize", 64, 256)
        while halving.next_round(rows):
            pass
        wrong += halving.levels["d"] < 64 and "d" not in undominated(
            {name: row[: halving.levels[name]] for name, row in rows.items()},
            dict(zip("abcd", range(4), strict=True)),
            "minimize",
        )
    assert wrong / 300 < 0.05
