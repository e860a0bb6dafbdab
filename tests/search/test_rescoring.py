"""The second stage: what is scored again, that nothing is scored twice, and the front that comes of it."""

from __future__ import annotations

import math
import shutil
import time

import pytest

from nas.errors import BudgetError, ConfigError, NasError, StorageError
from nas.quality import FunctionQuality, QualityMetric
from nas.search import (
    ChoiceSpace,
    SearchConfig,
    SumLatency,
    hypervolume_history,
    load_front,
    load_study,
    pick,
    rescore,
    run_search,
)
from nas.search.pareto import pareto_ranks
from nas.search.rescoring.selecting import select_members
from tests.processes import finish, start
from tests.search.problem import FormulaLatency, FormulaQuality, formula_loss, small_space

SPACE = small_space()
DIRECTIONS = ("minimize", "minimize")


class Dear(QualityMetric):
    """Another formula: the loss, turned around for what has a convolution in the middle."""

    name, direction = "dear loss", "minimize"

    def __init__(self, fails=lambda one: None, fingerprint="clips"):
        self.calls, self.fails, self.fingerprint = [], fails, fingerprint

    def score(self, architecture):
        self.calls.append(architecture.id)
        self.fails(architecture)
        return dear_loss(architecture)


def dear_loss(architecture):
    return (100 if architecture.choices[2] == "conv1d" else 1) * (20 + formula_loss(architecture))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A study of the whole space, which tests copy."""
    path = tmp_path_factory.mktemp("searched") / "s.db"
    run_search(SPACE, FormulaLatency(SPACE), FormulaQuality(), SearchConfig(sampler="exhaustive"), path, "s")
    return path


@pytest.fixture
def storage(searched, tmp_path):
    """A study of the whole space."""
    return shutil.copy(searched, tmp_path / "s.db")


def ids(members):
    return [member.architecture.id for member in members]


def best_of(architectures):
    """The front of these by brute force, with the dear loss."""
    points = {one.id: (dear_loss(one), FormulaLatency(SPACE).predict(one).pipeline_ms) for one in architectures}
    beaten = {
        key for key, (loss, ms) in points.items()
        if any(a <= loss and b <= ms and (a, b) != (loss, ms) for a, b in points.values())
    }  # fmt: skip
    return set(points) - beaten


def test_the_final_front_is_made_of_the_members_with_their_new_scores(storage):
    search, dear = load_study(storage, "s"), Dear()

    result = rescore(storage, "s", dear)

    assert dear.calls == ids(search.front)
    record = load_study(storage, "s")
    assert record == result.record
    assert ids(record.front) == ids(search.front)
    final = record.final
    assert set(ids(final.front)) == best_of([one.architecture for one in search.front]) < set(ids(search.front))
    assert set(ids(record.fallen)) == set(ids(search.front)) - set(ids(final.front))
    for member in final.evaluations:
        assert member.quality == dear_loss(member.architecture)
        assert member.search_quality == formula_loss(member.architecture)
        assert member.latency_ms == FormulaLatency(SPACE).predict(member.architecture).pipeline_ms
        assert member.provenance == "measured"
    assert (final.quality, final.waiting, final.final) == ("dear loss", 0, final)
    assert load_front(storage, "s") == list(final.front)
    assert pick(record) == final.knee()
    assert pick(record.searched) == search.knee()


def test_ranks_behind_the_front_are_scored_until_there_are_enough(storage):
    record = load_study(storage, "s")
    points = [(one.quality, one.latency_ms) for one in record.evaluations]
    ranks = dict(zip(ids(record.evaluations), pareto_ranks(points, DIRECTIONS), strict=True))

    for members in (1, len(record.front), len(record.front) + 3, 20, 1000):
        chosen = ids(select_members(record, members))
        assert len(set(chosen)) == len(chosen) == min(max(members, len(record.front)), 24)
        last = max(ranks[one] for one in chosen)
        assert {one for one, rank in ranks.items() if rank < last} <= set(chosen)
        dear = Dear(fingerprint=str(members))
        rescore(storage, "s", dear, members=members)
        assert dear.calls == chosen
        assert set(ids(load_front(storage, "s"))) == best_of(
            [one.architecture for one in record.evaluations if one.architecture.id in chosen]
        )


def test_what_is_scored_is_skipped_and_what_failed_is_tried_again(storage):
    led = ids(load_study(storage, "s").front)

    def fails(one):
        if one.id == led[1]:
            raise RuntimeError("out of memory")
        if one.id == led[3]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rescore(storage, "s", Dear(fails))
    broken_off = load_study(storage, "s")
    assert set(broken_off.final_scores.scores) == {led[0], led[2]}
    assert broken_off.final_scores.failures == {led[1]: "RuntimeError: out of memory"}
    assert broken_off.final.waiting == len(led) - 3

    dear = Dear()
    result = rescore(storage, "s", dear)
    assert dear.calls == [led[1], *led[3:]]
    assert (result.scored, result.known, result.failed) == (len(led) - 2, 2, 0)
    assert result.record.final_scores.failures == {}

    again = Dear()
    assert rescore(storage, "s", again).scored == 0
    assert again.calls == []


def test_nothing_is_picked_from_a_front_that_is_not_whole(storage):
    led = ids(load_study(storage, "s").front)

    def stops(one):
        if one.id == led[2]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rescore(storage, "s", Dear(stops))
    record = load_study(storage, "s")

    with pytest.raises(BudgetError, match=rf"{len(led) - 2} members of the search's front have no score of dear loss"):
        pick(record, 1000)
    assert pick(record.searched, 1000).architecture.id == led[-1]


def test_metrics_are_kept_apart_and_the_last_one_used_counts(storage):
    class Turned(Dear):
        name, direction = "gain", "maximize"

    few, many = Dear(fingerprint="8 batches"), Dear(fingerprint="64 batches")
    rescore(storage, "s", few)
    rescore(storage, "s", many)
    assert few.calls == many.calls
    rescore(storage, "s", Turned())
    assert (load_study(storage, "s").final.quality, load_study(storage, "s").final.direction) == ("gain", "maximize")

    again = Dear(fingerprint="8 batches")
    rescore(storage, "s", again)
    assert again.calls == []
    assert load_study(storage, "s").final.quality == "dear loss"


def test_a_search_that_goes_on_leaves_new_members_to_be_scored(tmp_path):
    def search(evaluations):
        config = SearchConfig(sampler="random", evaluations=evaluations)
        return run_search(SPACE, FormulaLatency(SPACE), FormulaQuality(), config, tmp_path / "s.db", "s")

    search(5)
    rescore(tmp_path / "s.db", "s", Dear())
    record = search(24).record

    new = [one for one in ids(record.front) if one not in record.final_scores.scores]
    assert record.final.waiting == len(new) > 0
    dear = Dear()
    rescore(tmp_path / "s.db", "s", dear)
    assert dear.calls == new


def test_failures_are_counted_and_too_many_end_the_run(storage):
    def fails(one):
        raise KeyError("weights")

    dear = Dear(fails)
    with pytest.raises(NasError, match=r"5 evaluations in a row failed.*KeyError.*weights"):
        rescore(storage, "s", dear)
    assert len(dear.calls) == 5
    assert load_study(storage, "s").final_scores is None

    def mistake(one):
        raise ConfigError("no such clips", where="data")

    with pytest.raises(ConfigError, match="no such clips"):
        rescore(storage, "s", Dear(mistake))


def test_a_score_that_is_not_finite_is_a_failure(storage):
    class Broken(Dear):
        def score(self, architecture):
            value = super().score(architecture)
            return math.nan if len(self.calls) == 1 else value

    result = rescore(storage, "s", Broken())

    first = ids(result.record.front)[0]
    assert result.failed == 1
    assert result.record.final_scores.failures == {first: "ArithmeticError: dear loss is nan"}
    assert first not in ids(result.record.final.evaluations)
    assert pick(result.record)


def test_what_cannot_be_scored_again(storage, tmp_path):
    with pytest.raises(StorageError, match="no study 't'"):
        rescore(storage, "t", Dear())
    with pytest.raises(ConfigError, match="made with another search space than small"):
        rescore(storage, "s", Dear(), space=small_space(prediction="data"))
    run_search(SPACE, FormulaLatency(SPACE), FormulaQuality(), SearchConfig(timeout_s=1e-9), tmp_path / "e.db", "e")
    with pytest.raises(BudgetError, match="no evaluations yet"):
        rescore(tmp_path / "e.db", "e", Dear())


def rescore_slowly(storage, log):
    """What the process does that is killed."""

    def slow(architecture):
        with log.open("a") as file:
            file.write(f"{architecture.id}\n")
        time.sleep(0.1)
        return 1.0

    rescore(storage, "s", FunctionQuality(slow, direction="minimize", name="slow"))


@pytest.mark.slow
def test_a_killed_rescoring_goes_on_without_losing_a_score(storage, tmp_path):
    led, log = ids(load_study(storage, "s").front), tmp_path / "scored.txt"

    process = start(tmp_path, rescore_slowly, storage, log)
    while not log.exists() or len(log.read_text().split()) < 3:
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    kept = load_study(storage, "s").final_scores.scores
    assert len(kept) >= 2

    finish(start(tmp_path, rescore_slowly, storage, log), tmp_path)
    scored = log.read_text().split()
    assert set(load_study(storage, "s").final_scores.scores) == set(led)
    assert all(scored.count(one) == 1 for one in kept)


def test_the_hypervolume_grows_as_the_front_does(tmp_path):
    space = ChoiceSpace({"a": ["1", "2", "3"]}, name="s")
    latency = SumLatency(space, {"a": {"1": 1, "2": 2, "3": 3}}, provenance="measured", device="d", runtime="r")

    class Loss(Dear):
        def score(self, architecture):
            return {"1": 9.0, "2": 4.0, "3": 5.0}[architecture.choices[0]]

    record = run_search(space, latency, Loss(), SearchConfig(sampler="exhaustive"), tmp_path / "s.db", "s").record

    # Rectangles up to (10, 4): 1 x 3; then 4..9 over 2..4 is 5 x 2 more; the third adds nothing.
    assert hypervolume_history(record, (10, 4)).values == (3, 13, 13)
    default = hypervolume_history(record)
    assert (default.reference, default.values) == ((9, 3), (0, 5, 5))
    with pytest.raises(ConfigError, match="two finite numbers"):
        hypervolume_history(record, (math.nan, 4))
